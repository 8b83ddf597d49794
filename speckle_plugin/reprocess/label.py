"""Read the wanted frames of a stored run, and classify them, alone or together with other processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.live.known_detector import KnownDetector
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.reprocess.corrections import StoredCorrections
from speckle_plugin.reprocess.parts import PART, Part, Results, SharedRun, cut_into_parts
from speckle_plugin.reprocess.pixels import batches, read_batch
from speckle_plugin.reprocess.task import Task
from speckle_plugin.schema import Flag, Status
from speckle_plugin.stage_times import StageTimes

__all__ = ["label_together", "label_wanted"]

Report = Callable[[int, int], None]
"""Called with the number of frames done and that of frames to be done."""


def label_wanted(
    task: Task,
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    times: StageTimes,
    report: Report,
) -> Results:
    """Classify the frames that a task wants.

    Parameters
    ----------
    task : Task
    detectors : mapping of image key to Detector
    classifier : Classifier
    times : StageTimes
        To which the seconds of the stages are added.
    report : callable
        Called with the number of frames done and that of frames to be done.
    """
    results: Results = {}
    total = len(task.wanted)
    report(0, total)
    for part in cut_into_parts(task):
        tell = partial(_tell, report, len(results), total)
        results.update(_label_part(part, task, detectors, classifier, times, tell))
    return results | _missing(task, classifier)


def label_together(
    task: Task,
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    times: StageTimes,
    report: Report,
    shared: SharedRun,
    labels_by: str,
) -> Results | None:
    """Classify those parts of a task that nobody else has, and take those that others have done.

    Parameters
    ----------
    task, detectors, classifier, times, report
        As for `label_wanted`.
    shared : SharedRun
    labels_by : str
        What tells network and settings from others.

    Returns
    -------
    Results or None
        None while others are still at parts of it.
    """
    results: Results = {}
    total = len(task.wanted)
    report(0, total)
    left = cut_into_parts(task, PART)

    def take(part: Part, done: tuple[Results, Mapping[str, float]] | None) -> None:
        if done is not None:
            results.update(done[0])
            times.add(done[1])
            left.remove(part)
            report(len(results), total)

    for part in list(left):
        with shared.holding(part) as mine:
            done = shared.read(part, labels_by)
            if done is None and mine:
                own, tell = StageTimes(), partial(_tell, report, len(results), total)
                done = _label_part(part, task, detectors, classifier, own, tell), own.seconds
                shared.write(part, labels_by, *done)
        take(part, done)
    for part in list(left):  # what others were at may be done by now
        take(part, shared.read(part, labels_by))
    return None if left else results | _missing(task, classifier)


def _tell(report: Report, before: int, total: int, done: int) -> None:
    report(before + done, total)


def _label_part(
    part: Part,
    task: Task,
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    times: StageTimes,
    report: Callable[[int], None],
) -> Results:
    key, results = part.image_key, Results()
    images = task.images[key]
    known, corrections = KnownDetector(detectors[key]), StoredCorrections(task, images)
    for batch in batches(part.indices, detectors[key].frame_bytes):
        for some, corrected in corrections.split(batch):
            with times("read"):
                frames = read_batch(images, some)
            labelled = known.label(classifier, frames, times, corrected)
            results.update(((key, index), result) for index, result in zip(some, labelled, strict=True))
            report(len(results))
    return results


def _missing(task: Task, classifier: Classifier) -> Results:
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    missing = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,))
    reason = "the run holds no such frame, only a row for it"
    return {(key, index): (missing, reason) for key, index in task.wanted if index >= len(task.images[key])}
