"""Hot pixels: those that are far brighter than all around them, frame after frame, as no speckle is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import marked_pixels

__all__ = ["find_hot_pixels", "hot_pixel_advice"]

STANDS_OUT = 8.0
"""A hot pixel is so many times brighter than the brightest of the 24 around it, one count added to that.

Speckles reach 2.8 without noise, and 4 with 10^4 or 10^6 photons in a frame (270 simulated frames of all
grids and families)."""

FRAMES = 8
"""So many frames are looked at."""

MANY = 3
"""From so many hot pixels on, the user is told."""

AROUND = np.ones((5, 5), bool)
AROUND[2, 2] = False


def find_hot_pixels(frames: Sequence[NDArray[Any]], geometry: FrameGeometry) -> NDArray[np.bool_]:
    """Find the pixels that stand out in more than half of some frames.

    Parameters
    ----------
    frames : sequence of array, shape `geometry.shape`
        The first eight are looked at, some milliseconds for each: not for every frame of a scan.
    geometry : FrameGeometry
        Pixels in its mask are left out, as are those that the detector marks.

    Returns
    -------
    array of bool, shape `geometry.shape`
        Fit for a mask.
    """
    hot = np.zeros(geometry.shape, int)
    for frame in frames[:FRAMES]:
        left_out = np.zeros(geometry.shape, bool) if geometry.mask is None else geometry.mask
        marked = marked_pixels(frame)
        if marked is not None:
            left_out = left_out | marked
        values = np.where(left_out, 0.0, np.maximum(np.nan_to_num(frame.astype(float), posinf=0.0), 0.0))
        if not values.any():
            continue
        one_count = values[values > 0].min()
        hot += values > STANDS_OUT * (maximum_filter(values, footprint=AROUND, mode="nearest") + one_count)
    return hot > min(len(frames), FRAMES) / 2


def hot_pixel_advice(frames: Sequence[NDArray[Any]], geometry: FrameGeometry) -> str:
    """Say that many pixels are hot, and what to do; empty if they are not.

    Parameters
    ----------
    frames : sequence of array, shape `geometry.shape`
    geometry : FrameGeometry
    """
    hot = find_hot_pixels(frames, geometry)
    count = int(np.count_nonzero(hot))
    if count < MANY:
        return ""
    row, column = (int(n) for n in np.argwhere(hot)[0])
    return (
        f"{count} pixels stand out from all around them (the first is row {row}, column {column}), as hot "
        "pixels do, and labels may be wrong by them: leave them out by a mask"
    )
