"""What the shape of a data key says: how many frames an event holds, or why it holds none.

Detectors state several frames of one event in several ways: by the leading dimensions of the shape,
(3, rows, columns) or (3, 1, rows, columns); by `frame_per_point` (AreaDetector) or `multiplier`
(ophyd-async before 0.11) of the resource while the shape is that of one frame, (rows, columns) or
(1, rows, columns). The rule here is that of bluesky_tiled_plugins, so that a frame has one index in
results and in the stored array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["count_frames", "is_array", "why_no_frames"]

SMALLEST_FRAME = 32
"""Arrays with fewer rows or columns are no frames."""

COLORS = (3, 4)
"""Length of the last dimension of a colour image."""


def is_array(data_key: Mapping[str, Any]) -> bool:
    """Tell whether a data key may hold images: an array of two dimensions or more, or of unknown shape."""
    if data_key["dtype"] != "array":
        return False
    shape = data_key.get("shape")
    if shape is None:
        return True
    return len(shape) >= 2 and all(n is None or n != 1 for n in shape[-2:])


def why_no_frames(data_key: Mapping[str, Any]) -> str:
    """Tell why the images of a data key are no frames to classify; empty if they are.

    Parameters
    ----------
    data_key : mapping
        Of the descriptor; one of those that :func:`is_array` lets pass.
    """
    shape = data_key.get("shape")
    if shape is None or not all(isinstance(n, int) for n in shape):
        return f"the shape {_written(shape)} is not known beforehand"
    *leading, rows, columns = shape
    if columns in COLORS and leading and min(leading[-1], rows) >= SMALLEST_FRAME:
        return f"the shape {_written(shape)} is that of a colour image: have the detector write one channel"
    if rows < SMALLEST_FRAME or columns < SMALLEST_FRAME:
        return (
            f"the shape {_written(shape)} is no frame of at least {SMALLEST_FRAME} rows and "
            f"{SMALLEST_FRAME} columns"
        )
    return ""


def count_frames(shape: Sequence[int], multiplier: int | None = None) -> int:
    """Give the number of frames in an event.

    Parameters
    ----------
    shape : tuple of int
        Of the data key: (..., rows, columns).
    multiplier : int, optional
        What the resource states under `frame_per_point` or `multiplier`.

    Returns
    -------
    int
        0 if there is none, as of (0, rows, columns).
    """
    leading = shape[:-2]
    if multiplier and not leading:
        return multiplier
    if multiplier and leading[0] != multiplier:
        # (0, rows, columns) is what a camera describes that was not told its number of images.
        return multiplier * math.prod(leading[1:] if leading[0] in (0, 1) else leading)
    return math.prod(leading)


def _written(shape: Any) -> str:
    return "None" if shape is None else f"({', '.join(map(str, shape))})"
