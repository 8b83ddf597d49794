"""Read frames, block by block, and masks from .npz and HDF5 files of unknown origin."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["DatasetError", "FrameFile", "open_frames", "read_mask"]

DEFAULT_DATASETS = ("frames", "/entry/data/data")
"""What `speckle simulate` writes, and where AreaDetector and the simulated detector put frames."""

MOST_NAMES = 12
"""So many datasets are named in an error, no more."""


class DatasetError(ValueError):
    """A file does not hold the dataset that is wanted, or not one that is known to be of frames."""


@dataclass(frozen=True, eq=False)
class FrameFile:
    """A file of frames, its pixels still unread.

    Parameters
    ----------
    shape : tuple of int
        Frames, rows, columns.
    dtype : dtype
    read_blocks : callable
        Given a number of frames, iterates over blocks of shape (up to so many, rows, columns); given
        an index as well, from this frame on.
    disk_number : array of int or None, shape (frames,)
        The truth, where the file holds it.
    beam_center : (row, column) or None
    pitch : float or None
        Wave number per pixel.
    """

    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    read_blocks: Callable[..., Iterator[NDArray[Any]]]
    disk_number: NDArray[np.int64] | None
    beam_center: tuple[float, float] | None
    pitch: float | None

    def read_frame(self, index: int) -> NDArray[Any]:
        """Read one frame, shape (rows, columns).

        Raises
        ------
        ValueError
            If there is none of this index.
        """
        if not 0 <= index < self.shape[0]:
            raise ValueError(
                f"the file holds {self.shape[0]} frames, counted from 0, none with index {index}"
            )
        return next(self.read_blocks(1, index))[0]


def open_frames(path: Path, dataset: str | None = None) -> FrameFile:
    """Look into a file of frames.

    Parameters
    ----------
    path : Path
        A .npz or HDF5 file; its content tells which.
    dataset : str, optional
        Name of the array of frames; by default `frames` or `/entry/data/data`.

    Raises
    ------
    ValueError
        If it is neither, holds no such array, or one that is not frames of numbers.
    OSError
        If it can't be read.
    """
    if not path.is_file():
        raise ValueError(f"no file {path}: give a .npz or HDF5 file of frames")
    if zipfile.is_zipfile(path):
        return _open_npz(path, dataset)
    if h5py.is_hdf5(path):
        return _open_hdf5(path, dataset)
    raise ValueError(f"{path} is neither a .npz nor an HDF5 file, or it is damaged")


def read_mask(path: Path) -> NDArray[np.bool_]:
    """Read a mask, True where a pixel is to be left out, from .npy, .npz or HDF5.

    A .npz or HDF5 file holds one array, or one with the name `mask`.

    Raises
    ------
    ValueError
        If there is no such file or array, or it holds more than true and false (or 1 and 0).
    """
    if not path.is_file():
        raise ValueError(f"no file {path}: give a .npy, .npz or HDF5 file with a mask")
    if h5py.is_hdf5(path):
        with h5py.File(path) as file:
            mask = file[_mask_name(path, _hdf5_datasets(file))][()]
    else:
        try:
            loaded = np.load(path, allow_pickle=False)
            mask = loaded[_mask_name(path, loaded.files)] if hasattr(loaded, "files") else loaded
        except (EOFError, zipfile.BadZipFile, ValueError) as error:
            raise ValueError(f"{path} can't be read as a mask: {error}") from error
    if mask.dtype.kind not in "biu" or not np.isin(mask, (0, 1)).all():
        raise ValueError(
            f"the mask in {path} must hold true and false (or 1 and 0), true where a pixel is to be left "
            f"out; it holds {mask.dtype} numbers"
        )
    return mask.astype(bool)


def _mask_name(path: Path, names: list[str]) -> str:
    if "mask" in names:
        return "mask"
    if len(names) != 1:
        raise ValueError(f"{path} must hold one array, or one named 'mask'; it holds {_listed(names)}")
    return names[0]


def _open_npz(path: Path, dataset: str | None) -> FrameFile:
    try:
        with np.load(path, allow_pickle=False) as archive:
            name = _choose(path, dataset, list(archive.files))
            extra = {k: archive[k] for k in ("disk_number", "beam_center", "pitch") if k in archive.files}
        with zipfile.ZipFile(path) as zipped, zipped.open(f"{name}.npy") as member:
            shape, fortran_order, dtype = _npy_header(member)
    except (EOFError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{path} can't be read: {error}; it may be truncated") from error

    def read_blocks(count: int, first: int = 0) -> Iterator[NDArray[Any]]:
        if fortran_order or len(shape) == 2:  # rare or small: then all at once
            with np.load(path, allow_pickle=False) as archive:
                frames = archive[name].reshape(frames_shape)
            for start in range(first, frames_shape[0], count):
                yield frames[start : start + count]
            return
        # numpy.load would hold all frames in memory; the format is read from front to back instead.
        with zipfile.ZipFile(path) as zipped, zipped.open(f"{name}.npy") as member:
            _npy_header(member)
            member.seek(first * int(np.prod(shape[1:])) * dtype.itemsize, io.SEEK_CUR)
            for start in range(first, shape[0], count):
                block = (min(count, shape[0] - start), *shape[1:])
                size = int(np.prod(block)) * dtype.itemsize
                data = member.read(size)
                if len(data) != size:
                    raise ValueError(
                        f"{path} ends in frame {start + len(data) * block[0] // size}: truncated"
                    )
                yield np.frombuffer(data, dtype).reshape(block)

    frames_shape = _frames_shape(path, name, shape, dtype)
    return FrameFile(frames_shape, dtype, read_blocks, **_statements(path, frames_shape[0], extra))


def _npy_header(member: Any) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(member)
    if version == (2, 0):
        return np.lib.format.read_array_header_2_0(member)
    raise ValueError(f"a .npy array of version {version} holds no plain numbers")


def _open_hdf5(path: Path, dataset: str | None) -> FrameFile:
    with h5py.File(path) as file:
        name = _choose(path, dataset, _hdf5_datasets(file))
        frames = file[name]
        if frames.dtype.kind == "V" or frames.shape is None:
            raise ValueError(f"the dataset {name!r} of {path} holds no plain numbers")
        shape = _frames_shape(path, name, frames.shape, frames.dtype)
        extra = {k: v for source in (file.attrs, frames.attrs) for k, v in source.items()}
        if "disk_number" in frames.parent:
            extra["disk_number"] = frames.parent["disk_number"][()]
        dtype = frames.dtype

    def read_blocks(count: int, first: int = 0) -> Iterator[NDArray[Any]]:
        with h5py.File(path) as file:
            frames = file[name]
            for start in range(first, shape[0], count):
                yield frames[start : start + count] if frames.ndim == 3 else frames[()][None]

    return FrameFile(shape, dtype, read_blocks, **_statements(path, shape[0], extra))


def _hdf5_datasets(file: h5py.File) -> list[str]:
    names: list[str] = []
    file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    return names


def _choose(path: Path, dataset: str | None, names: list[str]) -> str:
    """Choose the array of frames among those of a file."""
    for wanted in (dataset,) if dataset else DEFAULT_DATASETS:
        if wanted.strip("/") in names:
            return wanted.strip("/")
    missing = f"no dataset {dataset!r}" if dataset else f"neither {' nor '.join(map(repr, DEFAULT_DATASETS))}"
    raise DatasetError(f"{path} holds {missing}: choose among its datasets; it holds {_listed(names)}")


def _listed(names: list[str]) -> str:
    listed = ", ".join(names[:MOST_NAMES]) or "nothing"
    return listed if len(names) <= MOST_NAMES else f"{listed} and {len(names) - MOST_NAMES} more"


def _frames_shape(path: Path, name: str, shape: tuple[int, ...], dtype: Any) -> tuple[int, int, int]:
    if dtype.kind not in "biuf":
        raise ValueError(f"the dataset {name!r} of {path} must hold real numbers, not {dtype}")
    if len(shape) not in (2, 3):
        raise ValueError(
            f"the dataset {name!r} of {path} must have the shape (frames, rows, columns) or (rows, columns), "
            f"not {shape}"
        )
    if 0 in shape:
        raise ValueError(f"the dataset {name!r} of {path} is empty: its shape is {shape}")
    rows, columns = shape[-2:]
    return shape[0] if len(shape) == 3 else 1, rows, columns


def _statements(path: Path, count: int, extra: dict[str, Any]) -> dict[str, Any]:
    """Check what a file says of its frames: truth, beam centre, pitch."""
    truth = extra.get("disk_number")
    if truth is not None:
        truth = np.asarray(truth)
        if truth.dtype.kind not in "iu" or truth.shape not in ((count,), ()):
            raise ValueError(
                f"'disk_number' of {path} must be {count} integers, one per frame; "
                f"it is {truth.dtype} of the shape {truth.shape}"
            )
        truth = np.broadcast_to(truth.astype(np.int64), (count,))
    center, pitch = extra.get("beam_center"), extra.get("pitch")
    if center is not None:
        if np.shape(center) != (2,):
            raise ValueError(f"'beam_center' of {path} must be (row, column), not {center!r}")
        center = (float(center[0]), float(center[1]))
    return {
        "disk_number": truth,
        "beam_center": center,
        "pitch": None if pitch is None else float(np.asarray(pitch)),
    }
