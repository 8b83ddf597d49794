"""Pixel grids: at which scattering vector k each pixel of a detector looks.

Use :func:`quadrant`, :func:`centered` or :func:`published` for the grids of the
model system, and :class:`PixelGrid` itself for a detector of one's own.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["BOX_LENGTH", "PixelGrid", "centered", "grid_by_name", "published", "quadrant"]

BOX_LENGTH = 2000.0
"""Edge of the square box that holds the disks, in the units of the model."""

PITCH = math.pi / BOX_LENGTH
"""Wave number between neighbouring pixels on `quadrant` and `centered`."""

PUBLISHED_PITCH = 2.0 * math.pi / 18001.0
"""The same in the published MATLAB code: 2001 pixels padded by 8000 on each side."""


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


def quadrant(size: int = 257) -> PixelGrid:
    """One quadrant with k = 0 in its corner, the grid of the paper's section 2."""
    return PixelGrid((size, size), PITCH, (0.0, 0.0))


def centered(size: int = 513, pitch: float = PITCH) -> PixelGrid:
    """Square detector with the beam on its middle pixel.

    Raises
    ------
    ValueError
        If `size` is even: then no pixel is in the middle (give a PixelGrid with the
        fractional beam centre instead).
    """
    if size % 2 == 0:
        raise ValueError(
            f"a centered grid needs an odd size, not {size}: use PixelGrid(shape, pitch, beam_center) "
            "for a beam between pixels"
        )
    middle = (size - 1) / 2
    return PixelGrid((size, size), pitch, (middle, middle))


def published(size: int = 513) -> PixelGrid:
    """Give the grid of the frames that the paper's authors published."""
    return centered(size, PUBLISHED_PITCH)


def grid_by_name(name: str, size: int | None = None) -> PixelGrid:
    """Make one of the named grids, of its usual size or another.

    Raises
    ------
    ValueError
        If the name is none of `quadrant`, `centered`, `published`.
    """
    makers = {"quadrant": quadrant, "centered": centered, "published": published}
    if name not in makers:
        raise ValueError(f"unknown grid {name!r}: expected one of {', '.join(makers)}")
    return makers[name]() if size is None else makers[name](size)
