"""What an image is, and how many an event has: told by the data key alone, and here only.

Live classification, the end of cut-off runs, stored runs and training all ask here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

__all__ = ["SMALLEST_FRAME", "frames_per_event", "holds_images"]

SMALLEST_FRAME = 32
"""Arrays with fewer rows or columns are no frames; they pass by unclassified."""


def frames_per_event(data_key: Mapping[str, Any]) -> int:
    """Give the number of frames that an event has under a data key; 0 if its shape is that of no frames.

    Shapes of frames are (rows, columns), (frames, rows, columns) and, from detectors that keep a
    dimension for colours, (frames, 1, rows, columns).
    """
    shape: Sequence[Any] = data_key.get("shape") or ()
    if len(shape) == 2:
        return 1
    if len(shape) == 3 or (len(shape) == 4 and shape[1] == 1):
        return shape[0] if isinstance(shape[0], int) else 0
    return 0


def holds_images(data_key: Mapping[str, Any]) -> bool:
    """Tell whether a data key is one of frames, large enough to be classified."""
    if data_key["dtype"] != "array" or frames_per_event(data_key) < 1:
        return False
    return all(isinstance(n, int) and n >= SMALLEST_FRAME for n in data_key["shape"][-2:])
