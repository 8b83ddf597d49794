"""What becomes of frames of one detector, readable or not: the same live and for stored frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.frames.checks import FrameChecks
from speckle_plugin.frames.correction_frames import UNCORRECTED, Corrected
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.preprocessing import Correction
from speckle_plugin.schema import Flag, Status
from speckle_plugin.stage_times import StageTimes

__all__ = ["label_frames"]


def _geometry_problem(classifier: Classifier, detector: Detector, correction: Correction | None) -> str:
    """Tell why the frames of a detector cannot be classified; empty if they can."""
    if detector.geometry is None or detector.problem:
        return detector.problem
    geometry = detector.geometry if correction is None else correction.without_blind(detector.geometry)
    try:  # the bundle's crop may leave too little of this frame
        classifier.bundle.check_geometry(geometry)
    except ValueError as error:
        return f"{detector.image_key}: {error}"
    return ""


def label_frames(
    classifier: Classifier,
    detector: Detector,
    frames: Sequence[NDArray[Any] | OSError],
    times: StageTimes | None = None,
    checks: FrameChecks | None = None,
    corrected: Corrected = UNCORRECTED,
) -> list[tuple[FrameResult, str]]:
    """Classify frames of one detector.

    Parameters
    ----------
    classifier : Classifier
        The detector's k step may choose among its networks.
    detector : Detector
    frames : sequence of array, shape (rows, columns), or OSError
        The error, where a frame cannot be read.
    times : StageTimes, optional
        To which the seconds of the stages are added.
    checks : FrameChecks, optional
        Looks at some of the frames; what it finds, labels are flagged for.
    corrected : Corrected, optional
        How each frame is corrected; what of it lacks, labels are flagged for.

    Returns
    -------
    list of (FrameResult, str)
        For each frame its result, and what is to be told: why it has no label, or what is wrong with it.
    """
    classifier = classifier.for_k_step(detector.k_step)
    nothing = np.zeros(len(classifier.bundle.classes), np.float32)
    correction = corrected.correction
    if (problem := _geometry_problem(classifier, detector, correction)) or detector.geometry is None:
        unusable = FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNUSABLE_GEOMETRY,))
        return [(unusable, problem)] * len(frames)
    times = times or StageTimes()
    readable = [frame for frame in frames if not isinstance(frame, OSError)]
    if checks is not None:
        with times("check"):
            checks.look(readable, correction)
    results = iter(
        classifier.label(
            readable,
            detector.geometry,
            detector.saturation_level,
            detector.k_step,
            times,
            center_assumed=detector.center_assumed,
            correction=correction,
        )
    )
    warned = _Warnings(checks, corrected)
    labelled = []
    for frame in frames:
        if not isinstance(frame, OSError):
            result, words = warned.add(next(results))
            labelled.append((result, words or _shape_problem(frame, detector, result)))
        elif isinstance(frame, FrameReadError) and frame.not_yet:
            labelled.append((FrameResult(Status.DEFERRED, nothing), str(frame)))
        else:
            labelled.append((FrameResult(Status.FLAGGED, nothing, flags=(Flag.UNREADABLE,)), str(frame)))
    return labelled


def _shape_problem(frame: NDArray[Any], detector: Detector, result: FrameResult) -> str:
    if Flag.WRONG_SHAPE not in result.flags or detector.geometry is None:
        return ""
    return (
        f"{detector.image_key}: {frame.dtype} of the shape {frame.shape} came, where numbers of the shape "
        f"{detector.geometry.shape} were described: has the detector's region of interest or binning changed "
        "since then?"
    )


class _Warnings:
    """Flags, and words for them, that all frames of a detector have which got a label now."""

    def __init__(self, checks: FrameChecks | None, corrected: Corrected) -> None:
        self._flags: tuple[Flag, ...] = () if checks is None else checks.flags
        self._flags += corrected.flags
        words = ("" if checks is None else checks.advice, corrected.problem)
        self._words = "; ".join(filter(None, words))

    def add(self, result: FrameResult) -> tuple[FrameResult, str]:
        if result.status is not Status.CLASSIFIED or not self._flags:
            return result, ""
        return replace(result, flags=(*result.flags, *self._flags)), self._words
