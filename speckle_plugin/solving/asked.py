"""Which frames are solved, and what the solver needs of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.schema import NO_DISK_NUMBER, Status
from speckle_plugin.solving.pool import FrameError
from speckle_plugin.solving.task import SolveTask
from speckle_plugin.structure import SolveSettings

__all__ = ["AskedFrame", "is_unsure", "solve_task"]


class AskedFrame(NamedTuple):
    """A frame for which an opinion is asked.

    Parameters
    ----------
    image_key : str
    frame_index : int
    seq_num : int
        Of its event.
    label : int
        What the network said of it; 0 for nothing.
    """

    image_key: str
    frame_index: int
    seq_num: int
    label: int = NO_DISK_NUMBER


def is_unsure(status: str, confidence: float, flags: str | Sequence[Any], max_confidence: float) -> bool:
    """Tell whether the network is not sure of a frame that it looked at."""
    if status == Status.DEFERRED:
        return False
    return bool(flags) or status != Status.CLASSIFIED or confidence < max_confidence


def solve_task(
    detector: Detector, frame: NDArray[Any] | OSError, settings: SolveSettings
) -> SolveTask | FrameError:
    """Give what a solving process needs for a frame, or why it cannot be solved.

    Parameters
    ----------
    detector : Detector
    frame : array, shape (rows, columns), or OSError
        The error, where a frame cannot be read.
    settings : SolveSettings
        The detector's saturation level is taken where they have none.
    """
    if isinstance(frame, OSError):
        return FrameError(f"the frame cannot be read: {frame}")
    if detector.geometry is None:
        return FrameError(detector.problem)
    if not detector.k_step:
        return FrameError(f"{detector.image_key}: the detector does not state its wave number per pixel")
    if settings.saturation_level is None and detector.saturation_level:
        settings = replace(settings, saturation_level=detector.saturation_level)
    return SolveTask(frame, detector.geometry, detector.k_step, settings)
