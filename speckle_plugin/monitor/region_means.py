"""The mean of a region of interest over the frames of a run, of as many of them as a curve needs."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.store import StoredRun

__all__ = ["MOST_POINTS", "RegionMeans"]

MOST_POINTS = 200
"""Points of a curve at most; then every second frame is left out, and so on."""

AT_ONCE = 16
"""Frames that are read before the page sees them."""


@dataclass(eq=False)
class RegionMeans:
    """Means over a rectangle of pixels, frame by frame, as they are asked for.

    Parameters
    ----------
    image_key : str
    rows, columns : (int, int)
        First, and the one behind the last, in pixels of the frame.
    """

    image_key: str
    rows: tuple[int, int]
    columns: tuple[int, int]
    _means: dict[int, float] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def missing(self, frames: int) -> list[int]:
        """Give the frames, of so many, that the curve still needs."""
        return [index for index in range(0, frames, _stride(frames)) if index not in self._means]

    def work(self, stored: StoredRun) -> bool:
        """Read some of the frames that are missing; tell whether any was.

        The server gives the region only, not whole frames.
        """
        with self._lock:
            images = stored.images_of(self.image_key)
            wanted = self.missing(len(images))[:AT_ONCE]
            region = (slice(*self.rows), slice(*self.columns))
            for index, part in zip(wanted, images.read(wanted, region), strict=True):
                self._means[index] = _mean(part)
            return bool(wanted)

    def curve(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Give frame indices, ascending, and means so far; NaN where a region has no pixel with a value."""
        known = sorted(dict(self._means).items())
        stride = _stride(known[-1][0] + 1) if known else 1
        kept = [(index, mean) for index, mean in known if index % stride == 0]
        indices, means = np.array([i for i, _ in kept], np.int64), np.array([m for _, m in kept])
        return indices, means


def _stride(frames: int) -> int:
    """Give the least power of two that leaves few enough points, so that a longer run needs no other ones."""
    stride = 1
    while frames > MOST_POINTS * stride:
        stride *= 2
    return stride


def _mean(part: NDArray[np.generic]) -> float:
    values = part.astype(np.float64)
    marked = marked_pixels(part) if part.size else None
    if marked is not None:
        values[marked] = np.nan
    values = values[np.isfinite(values)]
    return float(values.mean()) if values.size else float("nan")
