"""Solve stored frames: what second opinions left, or the frames of runs that have none.

The answers go into a new stream of the run, `structure_2` and so on, with a row for every frame that was
asked; earlier answers are taken over. Rows are written as they come, and the run's summary is changed last.
A process that is stopped leaves a stream that no summary names: the next one takes over what is in it.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.reprocess.alone import alone
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.reprocess.given import Masks, describe_given
from speckle_plugin.reprocess.pixels import batches, read_batch
from speckle_plugin.reprocess.task import Frame, Task, find_task
from speckle_plugin.schema import STRUCTURE_STREAM, STRUCTURE_SUMMARY, Asked
from speckle_plugin.solving import FrameError, Outcome, SolverPool, SolveTask
from speckle_plugin.solving.asked import AskedFrame, is_unsure, solve_task
from speckle_plugin.solving.results import StructureResults, solver_configuration
from speckle_plugin.store import StoredRun
from speckle_plugin.store.leases import RunLeases
from speckle_plugin.store.read.results import StoredResult, free_stream
from speckle_plugin.structure import SolveSettings

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["Solution", "solve_run"]

FLUSH_INTERVAL = 10.0
"""Seconds of work that a process that is killed loses at most."""


@dataclass(frozen=True)
class Solution:
    """What became of a run.

    Parameters
    ----------
    run_uid : str
    scan_id : int or None
    stream : str
        The newest structure stream.
    summary : mapping
        Of it, by `speckle_plugin.documents.structure_counts`.
    solved_now : int
        Frames that were answered now.
    """

    run_uid: str
    scan_id: int | None
    stream: str
    summary: Mapping[str, Any]
    solved_now: int = 0


@dataclass(frozen=True, eq=False)
class _Plan:
    """Which frames of a run are asked for, and which answers stay."""

    task: Task
    asked: Asked
    max_confidence: float
    settings: SolveSettings
    frames: Sequence[AskedFrame]
    kept: Mapping[Frame, StoredResult]

    @property
    def wanted(self) -> list[AskedFrame]:
        return [frame for frame in self.frames if frame[:2] not in self.kept]


def solve_run(
    run: BlueskyRun,
    pool: SolverPool,
    *,
    asked: Asked | None = None,
    max_confidence: float = 0.8,
    settings: SolveSettings | None = None,
    masks: Masks = None,
    beam_center: tuple[float, float] | None = None,
    everything: bool = False,
    report: Callable[[int, int], None] | None = None,
    leases: RunLeases | None = None,
) -> Solution:
    """Solve the frames of a run that are asked for and not solved yet.

    Parameters
    ----------
    run : BlueskyRun
    pool : SolverPool
    asked : {"unsure", "all"}, optional
        Which frames; by default those of which an opinion was asked already, or all if none was.
    max_confidence : float
        For `unsure`: confidence from which on the network counts as sure.
    settings : SolveSettings, optional
        By default those of the earlier answers.
    masks : array, or mapping of data key to array of bool, optional
        True where a pixel is left out.
    beam_center : (row, column), optional
        For detectors that don't state it; by default that of the session.
    everything : bool
        Solve every frame that is asked for again.
    report : callable, optional
        Called with the number of frames done and that of frames to be done.
    leases : RunLeases, optional
        Those that workers go by: a run that another process works on is left to it.

    Raises
    ------
    CompletionError
        If the run is not finished or holds no frames, a detector was configured anew in mid-run, the earlier
        answers are by other settings, or another process works on the run.
    """
    with alone(leases, run):
        return _solve_run(run, pool, asked, max_confidence, settings, masks, beam_center, everything, report)


def _solve_run(
    run: BlueskyRun,
    pool: SolverPool,
    asked: Asked | None,
    max_confidence: float,
    settings: SolveSettings | None,
    masks: Masks,
    beam_center: tuple[float, float] | None,
    everything: bool,
    report: Callable[[int, int], None] | None,
) -> Solution:
    run.refresh()
    stored = StoredRun(run)
    plan = _plan(find_task(stored), asked, max_confidence, settings, everything)
    frame_settings, detectors = describe_given(plan.task, masks, beam_center, everything)
    report = report or (lambda done, total: None)
    wanted = plan.wanted
    report(0, len(wanted))
    if not wanted and stored.structure_summary.get("frames", 0) == len(plan.frames):
        return _solution(stored, stored.structure_stream, stored.structure_summary)

    from speckle_plugin.store.write.run_writer import ResultStreamWriter  # imports Tiled

    stream = free_stream(run, STRUCTURE_STREAM)
    writer = ResultStreamWriter(run)
    configuration = solver_configuration(
        plan.asked, plan.max_confidence, plan.settings, frame_settings.to_configuration()
    )
    rows = StructureResults(stored.start, writer, plan.settings, configuration, stream=stream)
    for frame in plan.frames:
        if frame[:2] in plan.kept:
            rows.take_over(plan.kept[frame[:2]].data, frame.label, plan.kept[frame[:2]].time)
        else:
            rows.expect(frame)
    done = 0
    try:
        flushed = time.monotonic()
        for frame, outcome in _solve_each(plan, detectors, pool):
            rows.close_frame(frame, outcome)
            done += 1
            report(done, len(wanted))
            if time.monotonic() - flushed > FLUSH_INTERVAL:
                writer.flush()
                flushed = time.monotonic()
    finally:  # what was solved before Ctrl-C is not lost
        rows.leave_outstanding("not solved yet: it was stopped before")
        stop = rows.stop(stored.stop or {})
        writer.publish(stop)
    return _solution(stored, stream, stop[STRUCTURE_SUMMARY], done)


def _plan(
    task: Task, asked: Asked | None, max_confidence: float, settings: SolveSettings | None, everything: bool
) -> _Plan:
    stored, labels = task.stored, task.stored.results.rows
    newest = stored.structures
    if settings is None:
        settings = SolveSettings.from_dict(newest.settings)
    elif newest.answered and not everything and settings.to_dict() != newest.settings:
        raise CompletionError(
            f"frames of the run {stored.uid} were solved with other settings ({newest.settings}), and "
            "answers by two settings are not mixed: give none, then these are taken, or have the frames "
            "solved again (`everything`)"
        )
    before: Asked = newest.configuration.get("asked", "none" if asked else "all")
    if asked is None or before == "all":  # the new stream holds the earlier answers too
        asked = before
        max_confidence = newest.configuration.get("max_confidence", max_confidence)
    frames = list(task.frames)
    if asked == "unsure":
        frames = [f for f in frames if f in newest.rows or _is_unsure(labels.get(f), max_confidence)]
    kept: dict[Frame, StoredResult] = {}
    if not everything:
        for structures in stored.all_structures:  # also of a stream that was not finished
            if structures.settings == settings.to_dict():
                kept |= structures.answered
    return _Plan(task, asked, max_confidence, settings, [_asked_frame(task, f) for f in frames], kept)


def _is_unsure(label: StoredResult | None, max_confidence: float) -> bool:
    if label is None:
        return False
    row = label.data
    return is_unsure(row["status"], row["confidence"], row["flags"], max_confidence)


def _asked_frame(task: Task, frame: Frame) -> AskedFrame:
    row = task.stored.results.rows.get(frame)
    label = 0 if row is None else int(row.data["disk_number"])
    return AskedFrame(*frame, task.event_of(frame)[0], label)


def _solve_each(
    plan: _Plan, detectors: Mapping[str, Detector], pool: SolverPool
) -> Iterator[tuple[AskedFrame, Outcome]]:
    """Read and solve the wanted frames, in their order; a few are in memory at a time."""
    read: deque[AskedFrame] = deque()

    def tasks() -> Iterator[SolveTask | FrameError]:
        by_key: dict[str, list[AskedFrame]] = {}
        for frame in plan.wanted:
            by_key.setdefault(frame.image_key, []).append(frame)
        for key, frames in by_key.items():
            by_index = {frame.frame_index: frame for frame in frames}
            images, detector = plan.task.images[key], detectors[key]
            for batch in batches(sorted(by_index), detector.frame_bytes):
                for index, pixels in zip(batch, read_batch(images, batch), strict=True):
                    read.append(by_index[index])
                    yield solve_task(detector, pixels, plan.settings)

    for outcome in pool.solve_each(tasks()):
        yield read.popleft(), outcome


def _solution(stored: StoredRun, stream: str, summary: Mapping[str, Any], solved_now: int = 0) -> Solution:
    return Solution(stored.uid, stored.start.get("scan_id"), stream, summary, solved_now)
