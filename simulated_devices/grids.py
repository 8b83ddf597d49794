"""Named pixel grids of the model system.

Use :func:`quadrant`, :func:`centered` or :func:`published` for the grids of the model
system, and :class:`PixelGrid` itself for a detector of one's own.
"""

from __future__ import annotations

import math

from speckle_plugin.scattering import BOX_LENGTH, PITCH, PixelGrid

__all__ = ["BOX_LENGTH", "PixelGrid", "centered", "grid_by_name", "published", "quadrant"]

PUBLISHED_PITCH = 2.0 * math.pi / 18001.0
"""Wave number between pixels in the published MATLAB code: 2001 pixels padded by 8000 on each side."""


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
        If the name is none of `quadrant`, `centered`, `published`, or the size is below 2 pixels.
    """
    makers = {"quadrant": quadrant, "centered": centered, "published": published}
    if name not in makers:
        raise ValueError(f"unknown grid {name!r}: expected one of {', '.join(makers)}")
    if size is not None and size < 2:
        raise ValueError(f"the size of a grid must be at least 2 pixels, not {size}")
    return makers[name]() if size is None else makers[name](size)
