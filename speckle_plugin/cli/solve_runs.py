"""The frames of stored runs, solved: `speckle solve --data DIRECTORY RUN`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import typer
from bluesky_tiled_plugins import BlueskyRun

from speckle_plugin.cli.console import print_table, progress_bar, remark, table
from speckle_plugin.cli.named_runs import leases_of, name_of, named_runs, replay_journals
from speckle_plugin.cli.structure_output import StructureFiles
from speckle_plugin.reprocess.given import Masks
from speckle_plugin.reprocess.solve import Solution, solve_run
from speckle_plugin.schema import Asked, Opinion
from speckle_plugin.solving import SolverPool
from speckle_plugin.solving.rows import structure_of_row
from speckle_plugin.store import Store, StoredRun, find_runs
from speckle_plugin.structure import SolveSettings

__all__ = ["solve_runs"]


def solve_runs(
    store: Store,
    names: Sequence[str],
    *,
    asked: Asked | None,
    max_confidence: float,
    settings: SolveSettings | None,
    masks: Masks,
    beam_center: tuple[float, float] | None,
    everything: bool,
    workers: int,
    files: StructureFiles,
    replay: bool,
) -> bool:
    """Solve frames of the runs named, or of all that have frames left; tell whether none is left."""
    whole = not replay or replay_journals(store)
    runs = named_runs(store, names) if names else list(find_runs(store.runs, certificate="left").values())
    if not runs:
        remark("nothing to do: no run has frames left to solve")
    solutions: list[Solution] = []
    failed = False
    leases = leases_of(store)
    with SolverPool(workers) as pool, progress_bar() as progress:
        task = progress.add_task("solving", total=None, numbers="")
        for run in runs:

            def report(done: int, total: int, name: str = name_of(run)) -> None:
                progress.update(task, description=name, completed=done, total=total)

            try:
                solution = solve_run(
                    run,
                    pool,
                    asked=asked,
                    max_confidence=max_confidence,
                    settings=settings,
                    masks=masks,
                    beam_center=beam_center,
                    everything=everything,
                    report=report,
                    leases=leases,
                )
            except ValueError as error:
                failed = True
                typer.secho(f"Error: {' '.join(str(error).split())}", err=True, fg="red")
                continue
            solutions.append(solution)
            run.refresh()
            _hand_out(run, masks, beam_center, files)
    _tell(solutions)
    return whole and not failed and not any(solution.summary.get("left") for solution in solutions)


def _hand_out(
    run: BlueskyRun, masks: Masks, beam_center: tuple[float, float] | None, files: StructureFiles
) -> None:
    """Write the rows of a run, and draw its frames, as far as that is asked for."""
    stored = StoredRun(run)
    for (key, index), row in sorted(stored.structures.rows.items()):
        files.add({"run_uid": stored.uid, **row.data})
        if not files.draws or row.data["certificate"] == Opinion.LEFT or not row.data["k_step"] > 0:
            continue
        images = stored.images[key]
        given = replace(
            stored.settings,
            beam_center=beam_center or stored.settings.beam_center,
            masks={images.data_key: masks} if isinstance(masks, np.ndarray) else masks,
        )
        detector = images.describe(given)
        if detector.geometry is not None:
            (pixels,) = images.read([index])
            structure = structure_of_row(row.data, row.data["disks"])
            files.draw(f"{name_of(run)}, {key}, frame {index}", structure, pixels, detector.geometry)


def _tell(solutions: Sequence[Solution]) -> None:
    numbers = ("frames", *(str(opinion) for opinion in Opinion), "disagree", "solved now")
    shown = table("scan_id", "uid", "stream", *numbers, right=("scan_id", *numbers))
    for solution in solutions:
        counts = (solution.summary.get(name, 0) for name in numbers[:-1])
        shown.add_row(
            str(solution.scan_id),
            solution.run_uid[:8],
            solution.stream,
            *map(str, counts),
            str(solution.solved_now),
        )
    if solutions:
        print_table(shown)
