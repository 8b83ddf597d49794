"""Frames of an HDF5 file, in any layout that detectors write."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.hdf5_files import HDF5Files
from speckle_plugin.frames.hdf5_search import find_frames
from speckle_plugin.frames.nexus import read_statements
from speckle_plugin.frames.source import FrameFileError, FrameSource, JoinedSource, Statements, frames_shape

__all__ = ["open_hdf5"]


def open_hdf5(path: str | os.PathLike[str], dataset: str | None = None) -> FrameSource:
    """Open the frames of an HDF5 file.

    Parameters
    ----------
    path : path
    dataset : str, optional
        Where they are; see :func:`speckle_plugin.frames.hdf5_search.find_frames`.

    Raises
    ------
    FrameFileError
        If there are none, or they can't be read.
    """
    files = HDF5Files(path)
    try:
        names, missing = find_frames(files, dataset)
        parts = [_Dataset(files, name) for name in names]
        return parts[0] if len(parts) == 1 and not missing else JoinedSource(files.path, parts, missing)
    except BaseException:
        files.close()
        raise


class _Dataset(FrameSource):
    """One dataset of frames."""

    def __init__(self, files: HDF5Files, name: str) -> None:
        self._files = files
        self._path = name
        self._data = files.dataset(name)
        called = f"the dataset {name!r} of {files.path}"
        if self._data.shape is None or self._data.dtype.kind == "V":
            raise FrameFileError(f"{called} holds no plain numbers")
        shape = frames_shape(called, self._data.shape)
        super().__init__(called, shape, self._data.dtype, is_single=self._data.ndim == 2)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._data.ndim == 3:
            return np.asarray(self._data[start:stop])
        if self._data.ndim == 2:
            return np.asarray(self._data[()])[None]
        return np.concatenate(list(self._pieces(start, stop)))

    def _pieces(self, start: int, stop: int) -> Any:
        """Read frames along several axes, those of one index of the outer ones at once."""
        *outer, inner = self._data.shape[:-2]
        for row in range(start // inner, (stop - 1) // inner + 1):
            low, high = max(start - row * inner, 0), min(stop - row * inner, inner)
            yield self._data[(*np.unravel_index(row, outer), slice(low, high))]

    def _statements(self) -> Statements:
        return read_statements(self._files, self._path, self.shape)

    def number(self, name: str, index: int) -> float:  # noqa: D102
        try:
            return float(self._files.dataset(name)[index])
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise FrameFileError(
                f"{self._files.path}, number {index} of {name!r}: {error}", not_yet=True
            ) from None

    def close(self) -> None:  # noqa: D102
        self._files.close()
