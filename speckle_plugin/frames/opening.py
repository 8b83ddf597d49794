"""Open a file of frames of any format that is known; its content tells which, not its name."""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import NDArray

from speckle_plugin.frames.fabio_files import open_cbf, open_edf, open_fit2d_mask
from speckle_plugin.frames.hdf5 import open_hdf5
from speckle_plugin.frames.numpy_files import open_npy, open_npz
from speckle_plugin.frames.source import FrameFileError, FrameSource, JoinedSource, Statements, clear_errors
from speckle_plugin.frames.tiff import open_tiff

__all__ = ["FORMATS", "expand", "open_all", "open_source"]

FORMATS = "HDF5, .npy, .npz, TIFF, CBF or EDF"
"""The formats that are known, as errors name them."""

LARGEST_HEAD = 4096


def open_source(path: str | os.PathLike[str], dataset: str | None = None) -> FrameSource:
    """Open a file of frames.

    Parameters
    ----------
    path : path
    dataset : str, optional
        The array in a HDF5 or .npz file; found, where it is not said. Other formats hold one array.

    Returns
    -------
    FrameSource
        To be closed.

    Raises
    ------
    FrameFileError
        If it is of no known format, damaged, or holds no frames; it says what to do.
    """
    path = os.fspath(path)
    if os.path.isdir(path):
        raise FrameFileError(
            f"{path} is no file but a folder: give a file, or a pattern such as {path}/*.tif"
        )
    if not os.path.exists(path):
        raise FrameFileError(f"no file {path}: give a file of frames ({FORMATS})", not_yet=True)
    with clear_errors(path):
        return _open(path, dataset)


def _open(path: str, dataset: str | None) -> FrameSource:
    with open(path, "rb") as file:
        head = file.read(LARGEST_HEAD)
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return open_hdf5(path, dataset)
    if head.startswith(b"\x93NUMPY"):
        return open_npy(path)
    if head.startswith((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")):
        return open_tiff(path)
    if head.startswith(b"###CBF"):
        return open_cbf(path)
    if head.startswith(b"M\0\0\0A\0\0\0S\0\0\0K\0\0\0"):
        return open_fit2d_mask(path)
    if zipfile.is_zipfile(path):
        return open_npz(path, dataset)
    if h5py.is_hdf5(path):  # behind a user block
        return open_hdf5(path, dataset)
    if re.match(rb"\s*\{", head):
        return open_edf(path)
    if not head:
        raise FrameFileError(f"{path} is empty", not_yet=True)
    raise FrameFileError(f"{path} is neither {FORMATS}, or it is damaged", not_yet=True)


def open_all(paths: Sequence[Path], dataset: str | None = None) -> FrameSource:
    """Open files of frames of one detector, as one source in their order.

    Raises
    ------
    FrameFileError
        If one can't be read, or they are unlike.
    """
    if len(paths) == 1:
        return open_source(paths[0], dataset)
    return JoinedSource(f"{paths[0]} and those after it", [_OneOfMany(path, dataset) for path in paths])


class _OneOfMany(FrameSource):
    """A file of a sequence, open only while it is read: there may be more than a process may hold open."""

    def __init__(self, path: Path, dataset: str | None) -> None:
        self._path, self._dataset = path, dataset
        with open_source(path, dataset) as source:
            super().__init__(source.name, source.shape, source.dtype, source.missing)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        with open_source(self._path, self._dataset) as source:
            return source.read(start, stop)

    def _statements(self) -> Statements:
        with open_source(self._path, self._dataset) as source:
            return source.statements()


def expand(path: Path) -> list[Path]:
    """Give the files that a path means: itself, or those of a pattern such as `frames_*.tif`.

    Numbers in names are counted: `frame_10` comes after `frame_9`.

    Raises
    ------
    FrameFileError
        If there is none.
    """
    if path.exists() or not re.search(r"[*?\[]", path.name):
        return [path]
    found = sorted(path.parent.glob(path.name), key=_natural)
    if not found:
        raise FrameFileError(f"no file {path}: nothing is called so")
    return found


def _natural(path: Path) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", path.name)]
