"""Symmetrizing: the pixels of a frame as one or two quadrants about the beam.

I(k) = I(-k) pairs each pixel with a second copy, where the beam is inside the frame; then there are two
quadrants. A detector with the beam in its corner has one. The blocked centre and the user's mask are left
out.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.raw_crop import RawCrop, crop_of
from speckle_plugin.preprocessing.settings import SMALLEST_VIEW, Preprocessing

__all__ = ["Quadrant", "quadrants", "usable_pixels", "used_values"]

SMALLEST_VALID_FRACTION = 0.25
"""A view with a smaller part of its pixels unmasked is not used."""


@dataclass(frozen=True, eq=False)
class Quadrant:
    """One quadrant: where each of its unmasked pixels is found on the frame, once or twice.

    Parameters
    ----------
    valid : array of bool, shape (rows, columns)
        The quadrant, its first row and column at the beam; False where no pixel is left.
    first, second : array of int, shape (pixels,)
        Places on the flattened frame of the two copies of each valid pixel; where there is but one copy,
        both name it, and where there is but one of each, they are one array.
    """

    valid: NDArray[np.bool_]
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    def average(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Give the mean of the copies of each unmasked pixel, shape (pixels,)."""
        flat = frame.reshape(-1)
        values = flat.take(self.first).astype(np.float32, copy=False)
        if self.second is not self.first:
            values = (values + flat.take(self.second).astype(np.float32, copy=False)) * np.float32(0.5)
        return values


@functools.lru_cache(maxsize=16)
def usable_pixels(geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.bool_]:
    """Tell which pixels of a raw frame the network sees, shape `geometry.shape`.

    Those outside of the crop, in the user's mask or in the blocked centre, it does not see.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.

    See Also
    --------
    used_values : their values
    """
    seen = np.zeros(geometry.shape, bool)
    if isinstance(settings, RawCrop):
        crop = crop_of(geometry, settings)
        seen[crop] = True if geometry.mask is None else ~geometry.mask[crop]
        return seen
    for quadrant in quadrants(geometry, settings):
        seen.reshape(-1)[quadrant.first] = True
        seen.reshape(-1)[quadrant.second] = True
    return seen


def used_values(frame: NDArray[Any], geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.float32]:
    """Give the values of a raw frame that the network sees, one-dimensional, in no special order.

    Parameters
    ----------
    frame : array, shape `geometry.shape`
    geometry : FrameGeometry
    settings : Preprocessing

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    return frame.reshape(-1).take(_used_places(geometry, settings)).astype(np.float32, copy=False)


@functools.lru_cache(maxsize=16)
def _used_places(geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.intp]:
    return np.flatnonzero(usable_pixels(geometry, settings))


@functools.lru_cache(maxsize=16)
def quadrants(geometry: FrameGeometry, settings: Preprocessing) -> tuple[Quadrant, ...]:
    """Give the quadrants that the network sees as views; they are worked out once."""
    rows, columns = geometry.shape
    row, column = (math.floor(c + 0.5) for c in geometry.beam_center)
    usable = geometry.unmasked(settings.center_half_width)
    limit = settings.crop or max(rows, columns)
    height = min(limit, max(rows - row, row + 1))
    width = min(limit, max(columns - column, column + 1))
    found = []
    if 0 <= row < rows and 0 <= column < columns and min(height, width) >= SMALLEST_VIEW:
        i, j = np.arange(height)[:, None], np.arange(width)[None, :]
        for sign in (1, -1):
            quadrant = _symmetrize(usable, row + i, column + sign * j, row - i, column - sign * j)
            if quadrant.valid.mean() >= SMALLEST_VALID_FRACTION:
                found.append(quadrant)
    if not found:
        raise ValueError(
            f"too little of the frame is left to classify: {geometry.shape} pixels with the beam at "
            f"{geometry.beam_center} and {int(usable.sum())} unmasked pixels; expected the beam on the "
            f"detector, at least {SMALLEST_VIEW} pixels beside it and a quarter of them unmasked"
        )
    return tuple(found)


def _symmetrize(usable: NDArray[np.bool_], i: Any, j: Any, opposite_i: Any, opposite_j: Any) -> Quadrant:
    rows, columns = usable.shape

    def locate(r: Any, c: Any) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        r, c = np.broadcast_arrays(r, c)
        inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
        index = np.where(inside, r * columns + c, 0)
        return inside & usable.reshape(-1)[index], index

    here, index = locate(i, j)
    there, opposite = locate(opposite_i, opposite_j)
    valid = here | there
    first = np.where(here, index, opposite)[valid]
    second = np.where(there, opposite, index)[valid]
    return Quadrant(valid, first, first if np.array_equal(first, second) else second)
