"""Read stored frames for reprocessing: one that cannot be read does not cost its neighbours."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from numpy.typing import NDArray

from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.store.read.images import StoredImages

__all__ = ["batches", "read_batch"]

MOST_FRAMES = 32
MOST_BYTES = 1 << 27
"""Frames, and bytes of frames, that are read at once."""


def batches(indices: Sequence[int], frame_bytes: int) -> Iterator[Sequence[int]]:
    """Cut the indices of frames into parts that are read at once."""
    size = max(1, min(MOST_FRAMES, MOST_BYTES // frame_bytes))
    for first in range(0, len(indices), size):
        yield indices[first : first + size]


def read_batch(images: StoredImages, indices: Sequence[int]) -> list[NDArray[Any] | OSError]:
    """Read frames by their indices, ascending; if that fails, one by one.

    Returns
    -------
    list
        The pixels of each, or why it cannot be read.
    """
    try:
        return list(images.read(indices))
    except (FrameReadError, KeyError, ValueError) as error:
        if len(indices) > 1:
            return [frame for index in indices for frame in read_batch(images, [index])]
        if isinstance(error, FrameReadError):
            return [error]
        return [
            FrameReadError(f"the Tiled server cannot give frame {indices[0]} of {images.image_key}: {error}")
        ]
