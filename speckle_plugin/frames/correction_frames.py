"""Dark frames and flat fields as they are measured, made into what corrects the frames with light."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing import Correction
from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.schema import Flag

__all__ = ["UNCORRECTED", "Corrected", "Frames", "correct_by", "mean_frame"]

Frames = Iterable[NDArray[Any] | OSError]
"""Frames of shape (rows, columns), or why one can't be read."""


class Corrected(NamedTuple):
    """How frames are corrected, and what was asked for and is not there."""

    correction: Correction | None
    flags: tuple[Flag, ...] = ()
    problem: str = ""


UNCORRECTED = Corrected(None)
"""Frames are taken as they are measured."""


def correct_by(darks: Frames | None, flats: Frames | None, shape: tuple[int, int]) -> Corrected:
    """Make what corrects frames.

    Parameters
    ----------
    darks, flats : iterable of array, shape (rows, columns), or OSError
        None where they are not asked for.
    shape : tuple of int
        Of the frames with light.
    """
    flags, problems = [], []
    dark = light = None
    if darks is not None:
        dark, problem = mean_frame(darks, shape)
        if problem:
            flags.append(Flag.NO_DARK)
            problems.append(f"no dark frame can be subtracted: {problem}")
    if flats is not None:
        light, problem = mean_frame(flats, shape)
        if problem:
            flags.append(Flag.NO_FLAT)
            problems.append(f"frames can't be divided by a flat field: {problem}")
    correction = None if dark is None and light is None else Correction(dark, light)
    return Corrected(correction, tuple(flags), "; ".join(problems))


def mean_frame(frames: Frames, shape: tuple[int, int]) -> tuple[NDArray[np.float32] | None, str]:
    """Average frames.

    Parameters
    ----------
    frames : iterable of array, shape (rows, columns), or OSError
        The error, where one can't be read: the others are taken. No more than one is kept.
    shape : tuple of int
        That which they should have.

    Returns
    -------
    array, shape `shape`, or None
        0 where a pixel is not finite, or marked by the detector as without a value. None if none fits.
    str
        Why there is none.
    """
    total, count = np.zeros(shape), 0
    error = other_shape = ""
    for frame in frames:
        if isinstance(frame, OSError):
            error = error or str(frame)
        elif np.shape(frame) != tuple(shape):
            other_shape = other_shape or f"it has the shape {np.shape(frame)}, the frames have {shape}"
        else:
            total += _values(np.asarray(frame))
            count += 1
    if not count:
        return None, other_shape or error or "there is none before it"
    return (total / count).astype(np.float32), ""


def _values(frame: NDArray[Any]) -> NDArray[np.float32]:
    values = frame.astype(np.float32)
    marked = marked_pixels(frame)
    known = np.isfinite(values) if marked is None else np.isfinite(values) & ~marked
    return np.where(known, values, np.float32(0))
