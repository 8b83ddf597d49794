"""Frames of NumPy's files: one array in .npy, several in .npz, read without loading all of them."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.shapes import SMALLEST_FRAME
from speckle_plugin.frames.hdf5_search import listed
from speckle_plugin.frames.source import FrameFileError, FrameSource, Statements, frames_shape
from speckle_plugin.frames.truth import checked_truth, stated_pair

__all__ = ["open_npy", "open_npz", "read_header"]

EXTRA = ("disk_number", "beam_center", "pitch", "k_step")
"""Arrays that are no frames, but say something of them."""


def open_npy(path: str | os.PathLike[str]) -> FrameSource:
    """Open the frames of a .npy file.

    Raises
    ------
    FrameFileError
        If it holds none, or is damaged.
    """
    return _Array(str(path), np.load(path, mmap_mode="r", allow_pickle=False))


def open_npz(path: str | os.PathLike[str], key: str | None = None) -> FrameSource:
    """Open the frames of a .npz file.

    Parameters
    ----------
    path : path
    key : str, optional
        The array; by default `frames`, or the only one that can be frames.

    Raises
    ------
    FrameFileError
        If there is none, or more than one, or the file is damaged.
    """
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as opened:
                    headers[member.removesuffix(".npy")] = read_header(opened)
    return _Npz(path, _choose(str(path), key, headers))


def read_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Read shape, whether in Fortran's order, and dtype from the beginning of a .npy array.

    Raises
    ------
    ValueError
        If it is none, or holds no plain numbers.
    """
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"a .npy array of version {version} holds no plain numbers")


def _choose(path: str, key: str | None, headers: dict[str, Any]) -> str:
    names = list(headers)
    if key is not None:
        if key.strip("/") in names:
            return key.strip("/")
        raise FrameFileError(
            f"{path} holds no dataset {key!r}: choose by `dataset`; it holds {listed(names)}"
        )
    if "frames" in names:
        return "frames"
    images = [
        name
        for name, (shape, _, dtype) in headers.items()
        if dtype.kind in "biuf"
        and len(shape) >= 2
        and min(shape[-2:]) >= SMALLEST_FRAME
        and "mask" not in name
    ]
    for most in (True, False):
        chosen = [name for name in images if (len(headers[name][0]) > 2) == most]
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            break
    raise FrameFileError(
        f"{path} holds {'several arrays' if images else 'no array'} that could be frames: choose by "
        f"`dataset`; it holds {listed(f'{name} {header[0]}' for name, header in headers.items())}"
    )


class _Array(FrameSource):
    """Frames of an array in memory, or mapped into it."""

    def __init__(self, name: str, array: NDArray[Any]) -> None:
        shape = frames_shape(name, array.shape)
        self._array = array.reshape(shape)
        super().__init__(name, shape, array.dtype, is_single=array.ndim == 2)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        return np.array(self._array[start:stop])


class _Npz(FrameSource):
    """One array of a .npz file. numpy.load would hold all of it; the format is read from front to back."""

    def __init__(self, path: str | os.PathLike[str], key: str) -> None:
        self._path, self._key = path, key
        self._archive = zipfile.ZipFile(path)
        self._member: Any = None
        try:
            self._member = self._archive.open(f"{key}.npy")
            self._stored, self._fortran, dtype = read_header(self._member)
            self._begin = self._member.tell()
            self._all: NDArray[Any] | None = None
            name = f"the dataset {key!r} of {path}"
            shape = frames_shape(name, self._stored)
            super().__init__(name, shape, dtype, is_single=len(self._stored) == 2)
        except BaseException:
            self.close()
            raise

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        if self._fortran and len(self._stored) > 1:  # rare: then all at once
            if self._all is None:
                data = self._bytes(0, self.shape[0])
                self._all = (
                    np.frombuffer(data, self.dtype).reshape(self._stored, order="F").reshape(self.shape)
                )
            return self._all[start:stop]
        data = self._bytes(start, stop)
        return np.frombuffer(data, self.dtype).reshape(stop - start, *self.shape[1:])

    def _bytes(self, start: int, stop: int) -> bytes:
        size = self.shape[1] * self.shape[2] * self.dtype.itemsize
        self._member.seek(self._begin + start * size)
        data = self._member.read((stop - start) * size)
        if len(data) != (stop - start) * size:
            raise FrameFileError(f"{self._path} ends in frame {start + len(data) // size}: truncated")
        return data

    def _statements(self) -> Statements:
        with np.load(self._path, allow_pickle=False) as archive:
            extra = {name: archive[name] for name in EXTRA if name in archive.files}
            mask = archive["mask"] if "mask" in archive.files and self._key != "mask" else None
        k_step = extra.get("k_step", extra.get("pitch"))
        return Statements(
            disk_number=checked_truth(str(self._path), extra.get("disk_number"), self.shape[0]),
            beam_center=stated_pair(str(self._path), extra.get("beam_center")),
            k_step=None if k_step is None else float(k_step),
            mask=None if mask is None or mask.shape != self.shape[1:] else mask.astype(bool),
        )

    def close(self) -> None:  # noqa: D102
        if self._member is not None:
            self._member.close()
        self._archive.close()
