"""A frame made small enough to be sent and drawn: every n-th pixel, which costs the session little."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.display.view import Picture
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.schema import join_flags

__all__ = ["MOST_PIXELS", "make_picture", "thin"]

MOST_PIXELS = 520
"""Rows and columns at most: more than these the figure has no room for."""


def thin(frame: NDArray[Any]) -> tuple[NDArray[Any], int]:
    """Copy every n-th row and column of a frame, and give n.

    Parameters
    ----------
    frame : array, shape (rows, columns)
        The raw frame, of any size; nothing of it is kept.
    """
    step = max(1, -(-max(frame.shape) // MOST_PIXELS))
    return frame[::step, ::step].copy(), step


def make_picture(reference: FrameReference, thinned: NDArray[Any], step: int, result: FrameResult) -> Picture:
    """Make what is sent of a frame.

    Parameters
    ----------
    reference : FrameReference
    thinned : array, shape (rows, columns)
        From :func:`thin`, as is the step.
    step : int
    result : FrameResult
    """
    detector = reference.detector
    pixels = thinned.astype(np.float32)
    if (marked := marked_pixels(thinned)) is not None:
        pixels[marked] = np.nan
    mask = None if detector.geometry is None else detector.geometry.mask
    if mask is not None and mask[::step, ::step].shape == thinned.shape:
        pixels[mask[::step, ::step]] = np.nan
    return Picture(
        detector.image_key,
        reference.frame_index,
        pixels,
        step,
        detector.beam_center,
        detector.k_step,
        str(result.status),
        int(result.disk_number),
        float(result.confidence),
        join_flags(result.flags),
        np.asarray(result.probabilities, np.float32),
    )
