"""Stored runs by their uid or scan id, and the journals beside them, for the commands that reprocess runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import remark

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

    from speckle_plugin.store import Store
    from speckle_plugin.store.leases import RunLeases

__all__ = ["NOT_COMPLETE", "EverythingOption", "leases_of", "name_of", "named_runs", "replay_journals"]

NOT_COMPLETE = 1
"""Exit code when frames are left."""

EverythingOption = Annotated[bool, typer.Option("--all", help="Do every frame of these runs again.")]


def named_runs(store: Store, names: Sequence[str]) -> list[BlueskyRun]:
    """Give runs by uid, its beginning, scan id, or ``last`` for the newest; each once.

    Raises
    ------
    ValueError
        If there is no such run.
    """
    found = {}
    for name in names:
        if name == "last":
            if not len(store.runs):
                raise ValueError("no run is stored yet: there is no last one")
            run = store.runs.values().last()
            found[run.start["uid"]] = run
            continue
        # The beginning of a uid may be all digits, but a scan id of eight is not likely.
        by_scan_id = name.isdecimal() and len(name) < 8
        try:
            run = store.runs.scan_id[int(name)] if by_scan_id else store.runs.uid[name]
        except KeyError as error:
            what = "scan id" if by_scan_id else "uid"
            raise ValueError(f"no stored run has the {what} {name}: speckle query lists the runs") from error
        found[run.start["uid"]] = run
    return list(found.values())


def replay_journals(store: Store) -> bool:
    """Make whole runs of journals that were left behind; tell whether that worked."""
    if store.is_read_only:
        return True
    from speckle_plugin.store import replay

    outcomes = replay(store.journal_directory, store.runs)
    for uid, outcome in outcomes.items():
        remark(f"journal of the run {uid}: {outcome}")
    return not any(outcome.startswith("failed") for outcome in outcomes.values())


def leases_of(store: Store) -> RunLeases | None:
    """Give the leases by which workers and commands leave a run to each other; None without a folder."""
    if store.is_read_only:
        return None
    from speckle_plugin.store.leases import RunLeases

    try:
        return RunLeases(store.leases_directory)
    except OSError as error:
        remark(f"see to it that no worker labels these runs meanwhile: no lease can be taken ({error})")
        return None


def name_of(run: BlueskyRun) -> str:
    """Give what a run is called on the screen."""
    return f"scan {run.start.get('scan_id', '?')} ({run.start['uid'][:8]})"
