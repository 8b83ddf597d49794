"""The figure in a notebook: an image below the cell that scans, replaced by newer ones."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["ImageOutput", "NotebookImage"]


class ImageOutput(Protocol):
    """Shows the images of a figure."""

    def begin(self) -> None:
        """Take notice that the next image is of another run, or asked for."""

    def show(self, png: bytes) -> None:
        """Show the file of an image in the place of the one before."""


class NotebookImage:
    """An image in the output of a cell.

    Scans of one cell share one image; the first scan of another cell has its own below that cell.
    """

    def __init__(self) -> None:
        self._begins = True
        self._cell = -1
        self._handle: Any = None

    def begin(self) -> None:
        """Let the next image be below the cell that is running."""
        self._begins = True

    def show(self, png: bytes) -> None:
        """Show the file of an image; without IPython nothing happens."""
        from IPython import get_ipython
        from IPython.display import Image, display

        shell = get_ipython()
        if shell is None:
            return
        image = Image(png, format="png")
        if self._handle is None or (self._begins and shell.execution_count != self._cell):
            self._cell = shell.execution_count
            self._handle = display(image, display_id=True)
        else:
            self._handle.update(image)
        self._begins = False
