"""Dark frames: what a detector shows with the shutter closed, as one array to subtract."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.marked_pixels import marked_pixels

__all__ = ["mean_dark"]


def mean_dark(
    frames: Sequence[NDArray[Any] | OSError], shape: tuple[int, int]
) -> tuple[NDArray[np.float32] | None, str]:
    """Average dark frames.

    Parameters
    ----------
    frames : sequence of array, shape (rows, columns), or OSError
        The error, where one can't be read: the others are taken.
    shape : tuple of int
        Of the frames with light.

    Returns
    -------
    array, shape `shape`, or None
        0 where a pixel is not finite, or marked by the detector as without a value. None if none fits.
    str
        Why there is none.
    """
    read = [np.asarray(frame) for frame in frames if not isinstance(frame, OSError)]
    if not read:
        errors = [str(frame) for frame in frames if isinstance(frame, OSError)]
        return None, f"no dark frame can be subtracted: {errors[0] if errors else 'there is none before it'}"
    fit = [frame for frame in read if frame.shape == tuple(shape)]
    if not fit:
        return None, (
            f"no dark frame can be subtracted: it has the shape {read[0].shape}, the frames have {shape}"
        )
    return np.mean([_values(frame) for frame in fit], axis=0, dtype=np.float32), ""


def _values(frame: NDArray[Any]) -> NDArray[np.float32]:
    values = frame.astype(np.float32)
    marked = marked_pixels(frame)
    known = np.isfinite(values) if marked is None else np.isfinite(values) & ~marked
    return np.where(known, values, np.float32(0))
