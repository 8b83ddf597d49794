"""What the frames of a detector show that nobody said: the beam elsewhere, hot pixels.

The first frames are looked at, and then ever fewer, so that labels do not wait for it: from the third frame
on looking takes a fiftieth of the time at most. What was found holds for the frames that follow.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector
from speckle_plugin.frames.center import BeamCenter, is_elsewhere, see_center
from speckle_plugin.frames.hot_pixels import HotPixels
from speckle_plugin.preprocessing import Correction, FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.preprocessing.orientation import Orientation
from speckle_plugin.schema import Flag

__all__ = ["FrameChecks", "corrected_values"]

ALWAYS = 2
"""So many frames are looked at in any case: a hot pixel is told from a cosmic ray by the second one."""

LARGEST_GAP = 256
"""Frames between two that are looked at; the gap doubles until then."""

LARGEST_SHARE = 0.02
"""Part of the time that looking may take."""


class FrameChecks:
    """Looks at some of the frames of one detector.

    Parameters
    ----------
    detector : Detector
    clock : callable
        Gives seconds.

    Attributes
    ----------
    flags : tuple of Flag
        What frames have from now on.
    advice : str
        What is wrong, and what to do; empty if nothing is.
    """

    def __init__(self, detector: Detector, clock: Callable[[], float] = time.monotonic) -> None:
        self._detector, self._clock = detector, clock
        self._seen = self._next = 0
        self._gap = 1
        self._begun = clock()
        self._spent = 0.0
        self._hot: HotPixels | None = None
        self._agrees = self._disagrees = 0
        self._beam: BeamCenter | None = None
        self.flags: tuple[Flag, ...] = ()
        self.advice = ""

    def look(self, frames: Sequence[NDArray[Any]], correction: Correction | None = None) -> None:
        """Take frames of the detector, in their order, and look at those that are due.

        Parameters
        ----------
        frames : sequence of array, shape (rows, columns)
            Those of another shape are passed by.
        correction : Correction, optional
            Of each.
        """
        geometry = self._detector.geometry
        if geometry is None:
            return
        before = self._seen
        for number, frame in enumerate(frames, start=before):
            self._seen = number + 1
            if number < self._next or not self._has_time():
                continue
            self._gap = min(2 * self._gap, LARGEST_GAP) if number else 1
            self._next = number + self._gap
            if frame.shape == geometry.shape and frame.dtype.kind in "biuf" and frame.size:
                started = self._clock()
                self.look_at(frame if correction is None else corrected_values(frame, correction), geometry)
                self._spent += self._clock() - started

    def _has_time(self) -> bool:
        if self._seen <= ALWAYS:
            return True
        return self._spent <= LARGEST_SHARE * (self._clock() - self._begun)

    def look_at(self, frame: NDArray[Any], geometry: FrameGeometry) -> None:
        """Look at one frame, whatever the time."""
        beam = see_center(frame, geometry.beam_center, geometry.mask)
        if beam is not None and is_elsewhere(beam, geometry.beam_center):
            self._disagrees += 1
            self._beam = self._beam or beam
        elif beam is not None:
            self._agrees += 1
        self._hot = self._hot or HotPixels(geometry)
        self._hot.look(frame)
        advice = {}
        if self._beam is not None and self._disagrees > self._agrees:
            advice[Flag.CENTER_DISAGREES] = self._center_advice(self._beam, geometry)
        if self._hot.frames > 1 and (hot := self._hot.advice()):
            advice[Flag.HOT_PIXELS] = f"{self._detector.image_key}: {hot}"
        self.flags, self.advice = tuple(advice), "; ".join(advice.values())

    def _center_advice(self, beam: BeamCenter, geometry: FrameGeometry) -> str:
        row, column = geometry.beam_center
        by = ", since nobody says where it is" if self._detector.center_assumed else ""
        if self._detector.orientation != Orientation():
            by += " (of the frame as it is stored)"
        return (
            f"{self._detector.image_key}: the beam is taken at row {row:g}, column {column:g}{by}, but "
            f"the frames show it near row {beam.row:.0f}, column {beam.column:.0f}, and labels are wrong by "
            "that: find it with `speckle center FRAME`, and state it as (row, column), not as (x, y)"
        )


def corrected_values(frame: NDArray[Any], correction: Correction) -> NDArray[np.float32]:
    """Correct a frame; pixels that the detector marks, or that see no light, become NaN."""
    values = correction(frame)
    for without_value in (marked_pixels(frame), correction.blind):
        if without_value is not None:
            values[without_value] = np.nan
    return values
