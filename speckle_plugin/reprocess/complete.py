"""Classify what is left of stored runs, and write it as a new result stream.

Frames are left without a label when they come too fast, when the classifier fails, or when the
process is killed. `complete_run` classifies them and writes a new result stream with a row for
every frame of the run; earlier streams stay as they are, and their results are taken over. The
run's summary, by which runs are found, is changed last, so that a crash leaves the run as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings, is_configured_anew
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.live.labels import label_frames
from speckle_plugin.live.results import RunResults
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.reprocess.consistency import (
    CompletionError,
    check_centers,
    check_masks,
    check_model,
    check_usable,
    recorded_masks,
)
from speckle_plugin.reprocess.task import Frame, Work, find_work, is_unreadable
from speckle_plugin.schema import SUMMARY, Flag, Status, newest_stream
from speckle_plugin.stage_times import StageTimes
from speckle_plugin.store import StorageError, read_frames
from speckle_plugin.store.read.results import free_stream

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["Completion", "complete_run", "complete_runs"]

logger = logging.getLogger(__name__)

Masks = NDArray[np.bool_] | Mapping[str, NDArray[np.bool_]] | None

MOST_FRAMES = 32
MOST_BYTES = 1 << 27
"""Frames, and bytes of frames, that are read and classified at once."""

NOT_OF_THE_FRAME = frozenset({401, 429, 502, 503, 504})
"""Answers of a server that say nothing of the frame that was asked for."""


@dataclass(frozen=True)
class Completion:
    """What became of a run.

    Parameters
    ----------
    run_uid : str
    scan_id : int or None
    stream : str
        The newest result stream.
    frames : int
        Frames of the run.
    classified, flagged : int
        Frames that got a label now, and those that can have none. Both are 0 if nothing was to be done.
    deferred : int
        Frames still without a result.
    error : str
        Why it failed; empty if it did not.
    """

    run_uid: str
    scan_id: int | None
    stream: str
    frames: int
    classified: int = 0
    flagged: int = 0
    deferred: int = 0
    error: str = ""


def complete_runs(
    runs: Iterable[BlueskyRun],
    classifier_of: Callable[[BlueskyRun], Classifier],
    *,
    masks: Masks = None,
    beam_center: tuple[float, float] | None = None,
    everything: bool = False,
    report: Callable[[BlueskyRun, int, int], None] | None = None,
) -> Iterator[Completion]:
    """Complete runs one after the other; one that fails does not stop the others.

    Parameters
    ----------
    runs : iterable of BlueskyRun
        A list: a search for runs with deferred frames would change on the way.
    classifier_of : callable
        Gives the classifier for a run.
    masks, beam_center, everything
        As for `complete_run`.
    report : callable, optional
        Called with the run, the number of frames done and that of frames to be done.

    Yields
    ------
    Completion
        With `error`, where it failed.

    Raises
    ------
    StorageError
        If the server does not answer any more.
    """
    import httpx

    def report_of(run: BlueskyRun) -> Callable[[int, int], None] | None:
        return None if report is None else lambda done, total: report(run, done, total)

    for run in runs:
        try:
            yield complete_run(
                run,
                classifier_of(run),
                masks=masks,
                beam_center=beam_center,
                everything=everything,
                report=report_of(run),
            )
        except httpx.TransportError as error:
            raise StorageError(
                f"the Tiled server does not answer any more ({error or type(error).__name__}). Nothing is "
                "lost: when it does, do the same again"
            ) from error
        except Exception as error:
            if not isinstance(error, CompletionError):
                logger.exception("the run %s could not be completed", run.start["uid"])
            yield _failed(run, error)


def _failed(run: BlueskyRun, error: Exception) -> Completion:
    stop = run.metadata.get("stop")
    summary = (stop or {}).get(SUMMARY) or {}
    return Completion(
        run.start["uid"],
        run.start.get("scan_id"),
        newest_stream(stop),
        summary.get("frames", 0),
        deferred=summary.get("deferred", 0),
        error=str(error) or type(error).__name__,
    )


def complete_run(
    run: BlueskyRun,
    classifier: Classifier,
    *,
    masks: Masks = None,
    beam_center: tuple[float, float] | None = None,
    everything: bool = False,
    report: Callable[[int, int], None] | None = None,
) -> Completion:
    """Classify the frames of a finished run that have no label yet, and those that could not be read.

    Parameters
    ----------
    run : BlueskyRun
        Of any store, also on a remote server: the frames are read through Tiled.
    classifier : Classifier
        With the model that classified the other frames.
    masks : array of bool, or mapping of data key to array, optional
        As in the session: True where a pixel is left out. One array is for all detectors that had a
        mask in the session, or simply for all if none had or with `everything`.
    beam_center : (row, column), optional
        For detectors that don't state it; by default that of the session.
    everything : bool
        Classify every frame again, if need be by another model.
    report : callable, optional
        Called with the number of frames done and that of frames to be done.

    Returns
    -------
    Completion

    Raises
    ------
    CompletionError
        If the run is not finished or holds no frames, if other frames of it were classified by another
        model, or with another mask or beam centre, or if a detector was configured anew in mid-run.
    """
    work = find_work(run, everything=everything)
    if not work.wanted and work.is_booked:
        return _completion(work, newest_stream(work.stop))
    for key, stored in work.images.items():
        if is_configured_anew(stored.data_key, stored.descriptor, stored.stream):
            raise CompletionError(
                f"the detector of {key!r} was configured anew during the run {run.start['uid']}, so that "
                "beam centre, pitch or saturation level are not the same for all its frames: such a run "
                "cannot be completed yet. Its frames and results stay as they are; to label the frames, read "
                "them (read_frames) and hand them to a Classifier with their geometry"
            )
    if isinstance(masks, np.ndarray):
        with_mask = () if everything else recorded_masks(work.earlier.model)
        masks = dict.fromkeys(with_mask or (stored.data_key for stored in work.images.values()), masks)
    settings = FrameSettings(work.image_keys, beam_center or work.beam_center, masks)
    detectors = work.describe_detectors(settings)
    plain = work.describe_detectors(FrameSettings(work.image_keys, work.beam_center))
    check_usable(run.start["uid"], detectors.values(), plain.values())
    times = StageTimes()
    if not everything:
        check_model(run.start["uid"], work.earlier.model, classifier.bundle)
        check_masks(run.start["uid"], work.earlier.model, detectors.values())
        check_centers(run.start["uid"], work.earlier.model, detectors.values(), plain.values())
        times.add(work.summary.get("seconds_per_frame", {}), work.summary.get("frames", 0))
    results = _classify(work, detectors, classifier, times, report or (lambda done, total: None))
    if work.is_booked and all(_is_unreadable_as_before(work, *item) for item in results.items()):
        return _completion(work, newest_stream(work.stop))
    stream = _write(work, settings, results, classifier, times)
    return _completion(work, stream, [result.status for result, _ in results.values()])


def _completion(work: Work, stream: str, statuses: Sequence[Status] = ()) -> Completion:
    start = work.run.start
    return Completion(
        start["uid"],
        start.get("scan_id"),
        stream,
        len(work.frames),
        statuses.count(Status.CLASSIFIED),
        statuses.count(Status.FLAGGED),
    )


Results = dict[Frame, tuple[FrameResult, str]]
"""For each frame its result, and the reason if it has no label for want of pixels or geometry."""


def _is_unreadable_as_before(work: Work, frame: Frame, result: tuple[FrameResult, str]) -> bool:
    row = work.earlier.rows.get(frame)
    return row is not None and is_unreadable(row) and Flag.UNREADABLE in result[0].flags


def _classify(
    work: Work,
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    times: StageTimes,
    report: Callable[[int, int], None],
) -> Results:
    results: Results = {}
    wanted = work.wanted
    report(0, len(wanted))
    for key, stored in work.images.items():
        indices = [index for image_key, index in wanted if image_key == key and index < len(stored)]
        size = max(1, min(MOST_FRAMES, MOST_BYTES // detectors[key].frame_bytes))
        for first in range(0, len(indices), size):
            batch = indices[first : first + size]
            with times("read"):
                frames = _read(work.run, key, batch)
            labelled = label_frames(classifier, detectors[key], frames, times)
            results.update(((key, index), result) for index, result in zip(batch, labelled, strict=True))
            report(len(results), len(wanted))
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    missing = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,))
    for frame in wanted:
        results.setdefault(frame, (missing, "the run holds no such frame, only a row for it"))
    return results


def _read(run: BlueskyRun, key: str, indices: Sequence[int]) -> list[NDArray[Any] | OSError]:
    """Read frames; if that fails one by one, so that a lost file does not cost its neighbours."""
    import httpx
    import pandas as pd

    table = pd.DataFrame({"run_uid": run.start["uid"], "image_key": key, "frame_index": indices})
    try:
        return [frame for _, frame in read_frames(run, table)]
    except (httpx.HTTPStatusError, KeyError, ValueError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in NOT_OF_THE_FRAME:
            raise
        if len(indices) > 1:
            return [frame for index in indices for frame in _read(run, key, [index])]
        return [FrameReadError(f"the Tiled server cannot give frame {indices[0]} of {key}: {error}")]


def _write(
    work: Work, settings: FrameSettings, results: Results, classifier: Classifier, times: StageTimes
) -> str:
    """Write a result stream with a row for every frame, and make it the newest; give its name."""
    from speckle_plugin.store.write.run_writer import ResultStreamWriter  # imports Tiled

    stream = free_stream(work.run)
    writer = ResultStreamWriter(work.run)
    rows = RunResults(work.run.start, writer, settings, stream=stream)
    rows.times.add(times.seconds)
    detectors = work.describe_detectors(settings)
    for frame in work.frames:
        if frame in work.kept:
            row = work.kept[frame]
            rows.take_over(row.data, row.time, classifier)
            continue
        reference = FrameReference(detectors[frame[0]], frame[1], *work.circumstances(frame))
        rows.expect(reference)
        result, problem = results[frame]
        rows.close_frame(reference, result, classifier, problem)
    writer.publish(rows.stop(work.stop))
    return stream
