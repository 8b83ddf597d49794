"""Files of frames for the commands: read block by block, with what they say of themselves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.opening import expand, open_all
from speckle_plugin.frames.source import FrameFileError, FrameSource, Statements
from speckle_plugin.preprocessing.orientation import Orientation

__all__ = ["FrameFile", "open_frames"]


@dataclass(frozen=True, eq=False)
class FrameFile:
    """Files of frames, their pixels still unread.

    Parameters
    ----------
    shape : tuple of int
        Frames, rows, columns.
    dtype : dtype
    open_source : callable
        Opens them.
    statements : Statements
        What they say of themselves, in the orientation of `orientation`.
    orientation : Orientation
        In which frames are given.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    open_source: Callable[[], FrameSource]
    statements: Statements = field(default_factory=Statements)
    orientation: Orientation = field(default_factory=Orientation)

    def read_blocks(self, count: int, first: int = 0) -> Iterator[NDArray[Any]]:
        """Iterate over blocks of shape (up to `count`, rows, columns), from frame `first` on.

        Raises
        ------
        FrameFileError
            If the file is damaged.
        """
        with self.open_source() as source:
            for start in range(first, self.shape[0], count):
                yield self.orientation.turn(source.read(start, min(start + count, self.shape[0])))

    def read_frame(self, index: int) -> NDArray[Any]:
        """Read one frame, shape (rows, columns).

        Raises
        ------
        ValueError
            If there is none of this index.
        """
        with self.open_source() as source:
            source.check_range(index, index + 1)
        return next(self.read_blocks(1, index))[0]

    def turned(self, orientation: Orientation) -> FrameFile:
        """Give the same frames in another orientation, with what the file says of itself turned alike."""
        rows, columns = orientation.turn_shape(self.shape[1:])
        return replace(
            self,
            shape=(self.shape[0], rows, columns),
            orientation=orientation,
            statements=turn_statements(self.statements, orientation, self.shape[1:]),
        )


def turn_statements(statements: Statements, orientation: Orientation, shape: tuple[int, int]) -> Statements:
    """Turn the beam centre and the mask that go with frames of `shape`."""
    center, mask = statements.beam_center, statements.mask
    return replace(
        statements,
        beam_center=None if center is None else orientation.turn_point(center, shape),
        mask=None if mask is None else orientation.turn(mask),
    )


def open_frames(path: Path, dataset: str | None = None) -> FrameFile:
    """Look into a file of frames.

    Parameters
    ----------
    path : Path
        A file of any format in :data:`speckle_plugin.frames.opening.FORMATS`, or a pattern for several.
    dataset : str, optional
        Name of the array of frames; found, where it is not given.

    Raises
    ------
    ValueError
        If it is of no known format, damaged, holds no frames, or fewer than it promises.
    """
    paths = expand(path)

    def open_source() -> FrameSource:
        return open_all(paths, dataset)

    with open_source() as source:
        if source.dtype.kind not in "biuf":
            raise FrameFileError(f"{source.name} must hold real numbers, not {source.dtype}")
        if source.missing:
            raise FrameFileError(
                f"{source.name} holds {source.shape[0]} frames and promises more: {source.missing}; or "
                "choose among what is there by `dataset`"
            )
        return FrameFile(source.shape, source.dtype, open_source, source.statements())
