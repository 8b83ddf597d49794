"""`speckle query` and `speckle replay`: look at what is stored, and save what was left in journals."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.cli.console import print_table, remark, stdout, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import new_file
from speckle_plugin.cli.run_selection import (
    CertificateOption,
    ConfidenceOption,
    DisagreesOption,
    FlagOption,
    LabelOption,
    ModelOption,
    PlanOption,
    PossibleOption,
    SinceOption,
    UntilOption,
    WhereOption,
    label_of,
    run_selection,
)
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["query", "replay"]

NOT_SAVED = 1
"""Exit code when a journal could not be replayed."""


@clear_errors
def query(
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    label: LabelOption = None,
    possible: PossibleOption = None,
    max_confidence: ConfidenceOption = None,
    flag: FlagOption = None,
    certificate: CertificateOption = None,
    disagrees: DisagreesOption = None,
    model: ModelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    plan: PlanOption = None,
    where: WhereOption = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="A row for each such frame, not for each run.")
    ] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Write the rows into a .csv or .parquet file, or with their frames into .h5.",
            show_default=False,
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    r"""Find runs, or single frames, by what the network saw in them.

    **Examples**: runs with seven disks somewhere; the frames that the network was not sure of.

        speckle query --data demo-output --label 7

        speckle query --data demo-output --frames --max-confidence 0.8 --out unsure.csv

        speckle query --data demo-output --frames --label 7 --out sevens.h5

        speckle query --data demo-output --frames --possible 7

        speckle query --data demo-output --frames --disagrees

        speckle query --data demo-output --where family=mono --since 2026-11-01

    The HDF5 file is NeXus: silx view and h5web open it at the frames.
    """
    import pandas as pd

    from speckle_plugin.store import FRAME_SUFFIXES, TABLE_SUFFIXES, export_table, find_frames

    if out is not None and out.suffix in FRAME_SUFFIXES and not frames:
        raise ValueError(f"{out} is a file for frames: give --frames, or a .csv or .parquet file for runs")
    number = label_of(label)
    wanted = run_selection(
        where,
        label=number,
        possible=possible,
        max_confidence=max_confidence,
        flag=flag,
        certificate=certificate,
        # Beside a frame that disagrees there may be others that agree.
        disagrees=(disagrees or None) if frames else disagrees,
        model=model,
        since=since,
        until=until,
        plan=plan,
    )
    with open_store(data, server) as store:
        runs = wanted.find(store.runs)
        if frames:
            rows = find_frames(
                runs,
                label=number,
                possible=possible,
                max_confidence=max_confidence,
                flag=flag,
                certificate=certificate,
                disagrees=disagrees,
            )
        else:
            rows = pd.DataFrame([_run_row(run) for run in runs.values()])
        if out is not None:
            with new_file(out, (*TABLE_SUFFIXES, *FRAME_SUFFIXES), force) as partial:
                export_table(rows, partial, runs, out.suffix)
            remark(f"{len(rows)} rows in {out}")
            return
    if rows.empty:
        remark("nothing stored matches")
        return
    if frames:
        rows = _narrowed(rows)
    shown = table(*map(str, rows.columns))
    for row in rows.itertuples(index=False):
        shown.add_row(*(_text(value) for value in row))
    print_table(shown)


@clear_errors
def replay(data: DataOption = DEFAULT_DATA, server: ServerOption = None) -> None:
    """Save runs that are not whole in Tiled, from their journals.

    A journal is left when a process was killed, the Tiled server died, or the disk was full.

    **Example**

        speckle replay --data demo-output
    """
    from speckle_plugin.store import replay as replay_journals

    with open_store(data, server) as store:
        outcomes = replay_journals(store.journal_directory, store.runs)
    if not outcomes:
        remark("no journals: every run is whole in Tiled")
    for journal, outcome in outcomes.items():
        stdout().print(f"{journal}: {outcome}", soft_wrap=True)
    if any(outcome.startswith("failed") for outcome in outcomes.values()):
        raise typer.Exit(NOT_SAVED)


def _narrowed(rows: DataFrame) -> DataFrame:
    """Give a table of frames for a screen: short uids, and second opinions only where there are any."""
    from speckle_plugin.store.read.opinions import OPINION_COLUMNS

    unasked = list(OPINION_COLUMNS) if (rows["certificate"] == "").all() else []
    unasked += [name for name in ("class_name", "possible") if (rows[name] == "").all()]
    return rows.assign(run_uid=rows["run_uid"].str[:8]).drop(columns=unasked)


def _run_row(run: Any) -> dict[str, Any]:
    from datetime import datetime

    from speckle_plugin.store import StoredRun

    stored = StoredRun(run)
    start, summary, structures = run.start, stored.summary, stored.structure_summary
    return {
        "scan_id": start.get("scan_id"),
        "uid": start["uid"][:8],
        "time": datetime.fromtimestamp(start["time"]).isoformat(" ", "seconds"),
        "plan": start.get("plan_name"),
        "frames": summary.get("frames", 0),
        "labels": " ".join(map(str, summary.get("labels", ()))),
        "min_confidence": summary.get("min_confidence"),
        "flagged": summary.get("flagged", 0),
        "deferred": summary.get("deferred", 0),
        "model": summary.get("model"),
        "solved": structures.get("solved", 0),
        "left": structures.get("left", 0),
        "disagree": structures.get("disagree", 0),
    }


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)
