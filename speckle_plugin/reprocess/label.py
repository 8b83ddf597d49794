"""Read the wanted frames of a stored run, and classify them."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.live.known_detector import KnownDetector
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.reprocess.darks import StoredDarks
from speckle_plugin.reprocess.pixels import batches, read_batch
from speckle_plugin.reprocess.task import Frame, Task
from speckle_plugin.schema import Flag, Status
from speckle_plugin.stage_times import StageTimes

__all__ = ["Results", "label_wanted"]

Results = dict[Frame, tuple[FrameResult, str]]
"""For each frame its result, and the reason if it has no label for want of pixels or geometry."""


def label_wanted(
    task: Task,
    detectors: Mapping[str, Detector],
    classifier: Classifier,
    times: StageTimes,
    report: Callable[[int, int], None],
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
    wanted = task.wanted
    report(0, len(wanted))
    for key, images in task.images.items():
        indices = [index for image_key, index in wanted if image_key == key and index < len(images)]
        known, darks = KnownDetector(detectors[key]), StoredDarks(task, images)
        for batch in batches(indices, detectors[key].frame_bytes):
            for part, dark in darks.split(batch):
                with times("read"):
                    frames = read_batch(images, part)
                labelled = known.label(classifier, frames, times, dark)
                results.update(((key, index), result) for index, result in zip(part, labelled, strict=True))
                report(len(results), len(wanted))
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    missing = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,))
    for frame in wanted:
        results.setdefault(frame, (missing, "the run holds no such frame, only a row for it"))
    return results
