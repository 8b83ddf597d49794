"""Which runs of a catalog wait for labels; and word from the server that something has changed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import SUMMARY
from speckle_plugin.store import find_runs
from speckle_plugin.store.listening import Listener

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["WaitingRuns", "listen_for_changes", "waits_for_labels"]


def waits_for_labels(run: BlueskyRun) -> bool:
    """Tell whether a finished run has frames without a label that can get one, as far as its summary says."""
    stop = run.metadata.get("stop")
    if stop is None:
        return False
    summary = stop.get(SUMMARY)
    return summary is None or bool(summary.get("deferred"))


class WaitingRuns:
    """Finds runs to classify, and looks at those that are settled no more.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    since : float, str, date or datetime, optional
        Runs that started before are left alone.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, since: Any = None) -> None:
        self._runs, self._since = runs, since
        self._settled: set[str] = set()
        self._latest: float | None = None
        self._open: set[str] = set()

    def __iter__(self) -> Iterator[BlueskyRun]:
        """Iterate over the runs that wait, those that are still being measured left out."""
        # Runs are stored in the order of their start, but for clocks of several machines.
        since = self._since if self._latest is None else max(self._latest - 3600.0, 0.0)
        found = {str(run.start["uid"]): run for run in find_runs(self._runs, since=since).values()}
        for uid in self._open - found.keys():
            if uid in self._runs:
                found[uid] = self._runs[uid]
        for uid, run in found.items():
            self._latest = max(self._latest or 0.0, run.start["time"])
            if uid in self._settled:
                continue
            if run.metadata.get("stop") is None:
                self._open.add(uid)
            elif waits_for_labels(run):
                yield run
            else:
                self.settle(uid)

    def settle(self, uid: str) -> None:
        """Look at a run no more."""
        self._settled.add(uid)
        self._open.discard(uid)

    def wait(self, uid: str) -> None:
        """Look at a run again, however old it is."""
        self._open.add(uid)


def listen_for_changes(runs: CatalogOfBlueskyRuns, changed: threading.Event) -> Listener:
    """Have an event set when the server tells of new runs or ends of runs; polling does without it."""
    return Listener(runs.subscribe, ("child_created", "child_metadata_updated"), lambda update: changed.set())
