"""What becomes of frames of one detector, readable or not: the same live and for stored frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.preprocessing import view_shape
from speckle_plugin.schema import Flag, Status
from speckle_plugin.stage_times import StageTimes

__all__ = ["label_frames"]


def _geometry_problem(classifier: Classifier, detector: Detector) -> str:
    """Tell why the frames of a detector cannot be classified; empty if they can."""
    if detector.geometry is None or detector.problem:
        return detector.problem
    try:  # the bundle's crop may leave too little of this frame
        view_shape(classifier.bundle.preprocessing, detector.geometry)
    except ValueError as error:
        return f"{detector.image_key}: {error}"
    return ""


def label_frames(
    classifier: Classifier,
    detector: Detector,
    frames: Sequence[NDArray[Any] | OSError],
    times: StageTimes | None = None,
) -> list[tuple[FrameResult, str]]:
    """Classify frames of one detector.

    Parameters
    ----------
    classifier : Classifier
    detector : Detector
    frames : sequence of array, shape (rows, columns), or OSError
        The error, where a frame cannot be read.
    times : StageTimes, optional
        To which the seconds of the stages are added.

    Returns
    -------
    list of (FrameResult, str)
        For each frame its result, and the reason if it can have no label for want of a
        geometry or of pixels, or since it has another shape.
    """
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    if (problem := _geometry_problem(classifier, detector)) or detector.geometry is None:
        unusable = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNUSABLE_GEOMETRY,))
        return [(unusable, problem)] * len(frames)
    readable = [frame for frame in frames if not isinstance(frame, OSError)]
    results = iter(
        classifier.label(
            readable,
            detector.geometry,
            detector.saturation_level,
            detector.k_step,
            times,
            center_assumed=detector.center_assumed,
        )
    )
    labelled = []
    for frame in frames:
        if isinstance(frame, FrameReadError) and frame.in_use:
            labelled.append((FrameResult(Status.DEFERRED, nothing), str(frame)))
            continue
        if isinstance(frame, OSError):
            labelled.append((FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,)), str(frame)))
            continue
        result = next(results)
        labelled.append((result, _shape_problem(frame, detector, result)))
    return labelled


def _shape_problem(frame: NDArray[Any], detector: Detector, result: FrameResult) -> str:
    if Flag.WRONG_SHAPE not in result.flags or detector.geometry is None:
        return ""
    return (
        f"{detector.image_key}: {frame.dtype} of the shape {frame.shape} came, where numbers of the shape "
        f"{detector.geometry.shape} were described: has the detector's region of interest or binning changed "
        "since then?"
    )
