"""Classify what is left of stored runs, and write it as a new result stream.

Frames are left without a label when they come too fast, when the classifier fails, or when the
process is killed. `complete_run` classifies them and writes a new result stream with a row for
every frame of the run; earlier streams stay as they are, and their results are taken over. The
run's summary, by which runs are found, is changed last, so that a crash leaves the run as it was.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess.alone import alone
from speckle_plugin.reprocess.consistency import (
    CompletionError,
    check_model,
)
from speckle_plugin.reprocess.given import Masks, describe_given
from speckle_plugin.reprocess.label import label_together, label_wanted
from speckle_plugin.reprocess.parts import SharedRun, identity
from speckle_plugin.reprocess.task import find_task
from speckle_plugin.reprocess.write import write_results
from speckle_plugin.schema import NETWORKS, Status
from speckle_plugin.stage_times import StageTimes
from speckle_plugin.store import StorageError, StoredRun
from speckle_plugin.store.leases import RunLeases

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["Completion", "complete_run", "complete_runs"]

logger = logging.getLogger(__name__)


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
    kept : int
        Frames that could not be labelled again, and keep the label that they had.
    problem : str
        Why the first of the frames that can have no label has none, as far as that is known: a file that
        can't be read.
    error : str
        Why it failed; empty if it did not.
    others : bool
        Other processes are still at frames of the run: the last one writes the labels of all.
    """

    run_uid: str
    scan_id: int | None
    stream: str
    frames: int
    classified: int = 0
    flagged: int = 0
    deferred: int = 0
    kept: int = 0
    problem: str = field(default="", compare=False)  # words, no outcome of its own
    error: str = ""
    others: bool = False


def complete_runs(
    runs: Iterable[BlueskyRun],
    classifier_of: Callable[[BlueskyRun], Classifier],
    *,
    masks: Masks = None,
    beam_center: tuple[float, float] | None = None,
    everything: bool = False,
    report: Callable[[BlueskyRun, int, int], None] | None = None,
    leases: RunLeases | None = None,
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
    leases : RunLeases, optional
        Those that workers go by: a run that another process labels is left to it, which is an error here.

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
            with alone(leases, run):
                done = complete_run(
                    run,
                    classifier_of(run),
                    masks=masks,
                    beam_center=beam_center,
                    everything=everything,
                    report=report_of(run),
                )
            yield done
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
    stored = StoredRun(run)
    return Completion(
        stored.uid,
        stored.start.get("scan_id"),
        stored.result_stream,
        stored.summary.get("frames", 0),
        deferred=stored.summary.get("deferred", 0),
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
    shared: SharedRun | None = None,
    unlabelled: FrameSettings | None = None,
) -> Completion:
    """Classify the frames of a finished run that have no label yet, and those that could not be read.

    Parameters
    ----------
    run : BlueskyRun
        Of any store, also on a remote server: the frames are read through Tiled.
    classifier : Classifier
        With the model that classified the other frames. It may have several, for detectors of other k steps.
    masks : array of bool, or mapping of data key to array, optional
        As in the session: True where a pixel is left out. One array is for all detectors that had a
        mask in the session, or simply for all if none had or with `everything`.
    beam_center : (row, column), optional
        For detectors that don't state it; by default that of the session.
    everything : bool
        Classify every frame again, if need be by another model. A frame that cannot be labelled now keeps
        the label that it had.
    report : callable, optional
        Called with the number of frames done and that of frames to be done.
    shared : SharedRun, optional
        What other processes do of the run; without it, nobody else may be at it.
    unlabelled : FrameSettings, optional
        What is said of the frames of a run that has no results yet; its masks are those of `masks`.

    Returns
    -------
    Completion

    Raises
    ------
    CompletionError
        If the run is not finished or holds no frames, if other frames of it were classified by another
        model, or with another mask or beam centre, or if a detector was configured anew in mid-run.
    """
    run.refresh()
    task = find_task(StoredRun(run), everything=everything, unlabelled=unlabelled)
    stored = task.stored
    done = Completion(stored.uid, stored.start.get("scan_id"), stored.result_stream, len(task.frames))
    if not task.wanted and task.is_booked:
        return done
    settings, detectors = describe_given(task, masks, beam_center, everything)
    if not everything:
        networks = stored.summary.get(NETWORKS, {})
        check_model(stored.uid, stored.results.model, networks, classifier, detectors.values())
    times = StageTimes()
    if not everything:
        times.add(stored.summary.get("seconds_per_frame", {}), stored.summary.get("frames", 0))
    report = report or (lambda done, total: None)
    if shared is None:
        results = label_wanted(task, detectors, classifier, times, report)
    else:
        labels_by = identity(classifier.bundle.sha256, settings.to_configuration())
        together = label_together(task, detectors, classifier, times, report, shared, labels_by)
        if together is None or not shared.take_alone():
            return replace(done, others=True)
        run.refresh()
        if run.metadata.get("stop") != stored.stop:  # somebody has just written the labels
            return replace(done, others=True)
        results = together
    kept = sum(task.better(frame, result) is not None for frame, (result, _) in results.items())
    done = replace(done, kept=kept, problem=next((why for _, why in results.values() if why), ""))
    if task.is_booked and not any(task.is_news(frame, result) for frame, (result, _) in results.items()):
        return done
    stream = write_results(task, settings, detectors, results, classifier, times)
    if shared is not None:
        shared.forget()
    statuses = [result.status for result, _ in results.values()]
    classified = statuses.count(Status.CLASSIFIED)
    return replace(done, stream=stream, classified=classified, flagged=len(statuses) - classified - kept)
