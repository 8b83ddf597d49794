"""Pixels that a detector marks as without a value, by values of integers that are no counts.

Eigers write the largest value of an unsigned type where a pixel is masked or a gap lies between
modules; Pilatus write -1 for a gap and -2 for a dead pixel. Such a pixel is left out as one of
the user's mask is.

The largest value of an unsigned type may also be that of a sensor at its end. There the pixels
around are near the end too. So it is a mark only where no pixel has a value above half of it, or
the type has 32 bits and more. Likewise -1 and -2 are marks only if nothing is below, and they are
few: where a dark frame was subtracted, small negative values are counts. Floating point has NaN.
"""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.prepare import view_shape
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["marked_pixels", "may_be_saturated", "without_marked_pixels"]

MOST_NEGATIVE = 0.2
"""Largest part of a frame that -1 and -2 may take as marks: the gaps of a Pilatus take up to 9 %."""

NEVER_COUNTED = 32
"""Bits from which on no detector counts up to the largest value."""


def marked_pixels(frame: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Tell which pixels of a frame are marked as without a value.

    Parameters
    ----------
    frame : array, shape (rows, columns)

    Returns
    -------
    array of bool, shape (rows, columns), or None
        None where there are none.
    """
    if frame.dtype.kind == "u":
        largest = np.iinfo(frame.dtype).max
        if frame.max() != largest:
            return None
        marked = frame == largest
        if may_be_saturated(frame.dtype):
            near = np.count_nonzero(frame > largest // 2)
            return marked if near == np.count_nonzero(marked) else None
        return marked
    if frame.dtype.kind == "i" and frame.min() in (-1, -2):
        marked = frame < 0
        return marked if np.count_nonzero(marked) <= MOST_NEGATIVE * marked.size else None
    return None


def may_be_saturated(dtype: np.dtype[Any]) -> bool:
    """Tell whether a pixel that is marked in frames of a dtype may have reached its end instead."""
    return dtype.kind == "u" and dtype.itemsize * 8 < NEVER_COUNTED


def without_marked_pixels(
    frame: NDArray[Any], geometry: FrameGeometry, settings: Preprocessing | None = None
) -> FrameGeometry:
    """Give the geometry of a frame with the pixels masked that the detector marks in it.

    Frames with the same marks get the same geometry, so that they are prepared together and nothing is
    worked out twice.

    Parameters
    ----------
    frame : array
        Of another shape than the geometry's, or empty, it changes nothing.
    geometry : FrameGeometry
    settings : Preprocessing, optional
        With which the frame is to be prepared; without, nobody sees whether enough is left.

    Returns
    -------
    FrameGeometry
        That which was given, if nothing is marked, or too little would be left to classify.
    """
    if frame.shape != geometry.shape or not frame.size:
        return geometry
    marked = marked_pixels(frame)
    if marked is None:
        return geometry
    return _with_marks(geometry, settings, np.packbits(marked).tobytes())


@functools.lru_cache(maxsize=16)
def _with_marks(geometry: FrameGeometry, settings: Preprocessing | None, packed: bytes) -> FrameGeometry:
    bits = np.unpackbits(np.frombuffer(packed, np.uint8), count=int(np.prod(geometry.shape)))
    mask = bits.astype(bool).reshape(geometry.shape)
    if geometry.mask is not None:
        mask |= geometry.mask
    masked = FrameGeometry(geometry.shape, geometry.beam_center, mask)
    if settings is not None:
        try:
            view_shape(settings, masked)
        except ValueError:
            return geometry
    return masked
