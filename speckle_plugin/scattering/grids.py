"""Pixel grids: at which scattering vector k each pixel of a detector looks."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOX_LENGTH", "PITCH", "PixelGrid"]

BOX_LENGTH = 2000.0
"""Edge of the square box that holds the disks, in the units of the model."""

PITCH = math.pi / BOX_LENGTH
"""Wave number between neighbouring pixels on `quadrant` and `centered`."""


@dataclass(frozen=True)
class PixelGrid:
    """A flat detector: pixel (i, j) looks at k = ((i - row) pitch, (j - column) pitch).

    Parameters
    ----------
    shape : tuple of int
        Number of rows and columns.
    pitch : float
        Wave number between neighbouring pixels, in inverse units of the box.
    beam_center : tuple of float
        Row and column at which k = 0, which may be fractional or off the detector.

    Raises
    ------
    ValueError
        If the shape is not two positive integers, or pitch or centre are no finite numbers.
    """

    shape: tuple[int, int]
    pitch: float = PITCH
    beam_center: tuple[float, float] = (0.0, 0.0)

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2 or min(shape) < 1 or shape != tuple(self.shape):
            raise ValueError(f"shape must be two positive integers (rows, columns), not {self.shape!r}")
        if not (math.isfinite(self.pitch) and self.pitch > 0):
            raise ValueError(f"pitch must be a positive wave number per pixel, not {self.pitch!r}")
        center = tuple(float(c) for c in self.beam_center)
        if len(center) != 2 or not all(map(math.isfinite, center)):
            raise ValueError(f"beam_center must be (row, column), not {self.beam_center!r}")
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "pitch", float(self.pitch))
        object.__setattr__(self, "beam_center", center)

    @property
    def k_rows(self) -> NDArray[np.float64]:
        """Component of k along the rows' index, shape (rows,), inverse units."""
        return np.asarray((np.arange(self.shape[0]) - self.beam_center[0]) * self.pitch, np.float64)

    @property
    def k_columns(self) -> NDArray[np.float64]:
        """Component of k along the columns' index, shape (columns,), inverse units."""
        return np.asarray((np.arange(self.shape[1]) - self.beam_center[1]) * self.pitch, np.float64)

    @property
    def k_magnitude(self) -> NDArray[np.float64]:
        """Length of k at every pixel, shape (rows, columns), inverse units."""
        return np.hypot(self.k_rows[:, None], self.k_columns[None, :])
