"""Hot pixels: those that are far brighter than all around them, frame after frame, as no speckle is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import marked_pixels

__all__ = ["HotPixels", "find_hot_pixels", "hot_pixel_advice"]

STANDS_OUT = 8.0
"""A hot pixel is so many times brighter than the brightest of the 24 around it, one count added to that.

Speckles reach 2.8 without noise, and 4 with 10^4 or 10^6 photons in a frame (270 simulated frames of all
grids and families)."""

FRAMES = 8
"""So many frames are looked at."""

MANY = 3
"""From so many hot pixels on, the user is told."""


class HotPixels:
    """Counts, over some frames of one detector, how often each pixel stands out.

    Parameters
    ----------
    geometry : FrameGeometry
        Pixels in its mask are left out, as are those that the detector marks.
    """

    def __init__(self, geometry: FrameGeometry) -> None:
        self._geometry = geometry
        self._counts = np.zeros(geometry.shape, np.uint16)
        self.frames = 0

    def look(self, frame: NDArray[Any]) -> None:
        """Look at a frame, shape `geometry.shape`: some milliseconds, so not for every frame of a scan."""
        self._counts += _standing_out(frame, self._geometry)
        self.frames += 1

    def find(self) -> NDArray[np.bool_]:
        """Give the pixels that stood out in more than half of the frames, shape `geometry.shape`."""
        return self._counts > self.frames / 2

    def advice(self) -> str:
        """Say that many pixels are hot, and what to do; empty if they are not."""
        hot = self.find()
        count = int(np.count_nonzero(hot))
        if count < MANY:
            return ""
        row, column = (int(n) for n in np.argwhere(hot)[0])
        return (
            f"{count} pixels stand out from all around them (the first is row {row}, column {column}), as "
            "hot pixels do, and labels may be wrong by them: leave them out by a mask"
        )


def find_hot_pixels(frames: Sequence[NDArray[Any]], geometry: FrameGeometry) -> NDArray[np.bool_]:
    """Find the pixels that stand out in more than half of some frames.

    Parameters
    ----------
    frames : sequence of array, shape `geometry.shape`
        The first eight are looked at.
    geometry : FrameGeometry
        As of :class:`HotPixels`.

    Returns
    -------
    array of bool, shape `geometry.shape`
        Fit for a mask.
    """
    return _of(frames, geometry).find()


def hot_pixel_advice(frames: Sequence[NDArray[Any]], geometry: FrameGeometry) -> str:
    """Say that many pixels are hot in some frames, and what to do; empty if they are not.

    Parameters
    ----------
    frames : sequence of array, shape `geometry.shape`
    geometry : FrameGeometry
    """
    return _of(frames, geometry).advice()


def _of(frames: Sequence[NDArray[Any]], geometry: FrameGeometry) -> HotPixels:
    hot = HotPixels(geometry)
    for frame in frames[:FRAMES]:
        hot.look(frame)
    return hot


def _standing_out(frame: NDArray[Any], geometry: FrameGeometry) -> NDArray[np.bool_]:
    """Tell which pixels are much brighter than the brightest of the 24 around them."""
    used = np.isfinite(frame)
    for left_out in (geometry.mask, marked_pixels(frame)):
        if left_out is not None:
            used &= ~left_out
    values = np.where(used, np.maximum(frame, 0), 0).astype(np.float32)
    found = np.zeros(frame.shape, bool)
    if not values.any():
        return found
    one_count = values[values > 0].min()
    # Who stands out is the brightest of the 25; then the others are looked at, of these few pixels only.
    bright = values > STANDS_OUT * one_count
    rows, columns = np.nonzero(bright & (values == maximum_filter(values, size=5, mode="nearest")))
    # On the edge there is none around it on one side, and its own value is taken for these: never hot.
    padded = np.pad(values, 2, mode="edge")
    around = sliding_window_view(padded, (5, 5))[rows, columns].reshape(len(rows), 25)
    around = np.delete(around, 12, axis=1)
    hot = values[rows, columns] > STANDS_OUT * (around.max(axis=1, initial=0.0) + one_count)
    found[rows[hot], columns[hot]] = True
    return found
