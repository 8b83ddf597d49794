"""What the drawing process answers."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DRAWING", "NO_WINDOW", "Image", "Trouble"]

NO_WINDOW, DRAWING = 3, 4
"""Exit codes: no window can be opened; an error of the drawing. With 0 the window was closed."""


@dataclass(frozen=True)
class Image:
    """The figure, as a PNG file."""

    png: bytes


@dataclass(frozen=True)
class Trouble:
    """Why the process ends."""

    message: str
