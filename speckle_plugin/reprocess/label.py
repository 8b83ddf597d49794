"""Read the wanted frames of a stored run, and classify them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.live.labels import label_frames
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.reprocess.task import Frame, Task
from speckle_plugin.schema import Flag, Status
from speckle_plugin.stage_times import StageTimes
from speckle_plugin.store.read.images import StoredImages

__all__ = ["Results", "label_wanted"]

MOST_FRAMES = 32
MOST_BYTES = 1 << 27
"""Frames, and bytes of frames, that are read and classified at once."""

NOT_OF_THE_FRAME = frozenset({401, 429, 502, 503, 504})
"""Answers of a server that say nothing of the frame that was asked for."""

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
        size = max(1, min(MOST_FRAMES, MOST_BYTES // detectors[key].frame_bytes))
        for first in range(0, len(indices), size):
            batch = indices[first : first + size]
            with times("read"):
                frames = _read(images, batch)
            labelled = label_frames(classifier, detectors[key], frames, times)
            results.update(((key, index), result) for index, result in zip(batch, labelled, strict=True))
            report(len(results), len(wanted))
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    missing = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,))
    for frame in wanted:
        results.setdefault(frame, (missing, "the run holds no such frame, only a row for it"))
    return results


def _read(images: StoredImages, indices: Sequence[int]) -> list[NDArray[Any] | OSError]:
    """Read frames; if that fails one by one, so that a lost file does not cost its neighbours."""
    import httpx

    try:
        return list(images.read(indices))
    except (httpx.HTTPStatusError, KeyError, ValueError) as error:
        if isinstance(error, httpx.HTTPStatusError) and error.response.status_code in NOT_OF_THE_FRAME:
            raise
        if len(indices) > 1:
            return [frame for index in indices for frame in _read(images, [index])]
        return [
            FrameReadError(f"the Tiled server cannot give frame {indices[0]} of {images.image_key}: {error}")
        ]
