"""One closed HDF5 file for the frames of one exposure.

A file is written under a hidden name and then renamed, so that a reader meets a whole file
or none. The writer and the documents that refer to its files share :data:`FRAME_DATASET`.
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
from numpy.typing import DTypeLike, NDArray

__all__ = ["FRAME_DATASET", "FrameFileError", "link_again", "prepare_directory", "write_frames"]

FRAME_DATASET = "/entry/data/data"
"""Path of the frames inside a file: what readers of the spec `AD_HDF5` take for granted."""


class FrameFileError(OSError):
    """A frame file or its folder could not be written."""


def link_again(path: Path, number: int) -> Path:
    """Give a frame file another name beside it, without copying it.

    Raises
    ------
    FrameFileError
        If the file system knows no hard links, or the file is gone.
    """
    again = path.with_name(f"{path.stem}-{number}{path.suffix}")
    try:
        os.link(path, again)
    except OSError as error:
        raise FrameFileError(f"{path.name} can't be read into a second event: {error}") from error
    return again


def prepare_directory(directory: Path) -> None:
    """Make a folder for frame files, unless it is there.

    Raises
    ------
    FrameFileError
        If it can neither be made nor written to.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FrameFileError(
            f"cannot make the folder for frames, {directory}: {_reason(error)}. "
            "Give the detector another data_directory, or the right to write there"
        ) from error
    if not os.access(directory, os.W_OK | os.X_OK):
        raise FrameFileError(
            f"the folder for frames, {directory}, is not writable: give the detector another "
            "data_directory, or the right to write there"
        )


def write_frames(
    path: Path, frames: Iterable[NDArray[Any]], shape: tuple[int, int, int], dtype: DTypeLike
) -> None:
    """Write the frames of one exposure.

    Parameters
    ----------
    path : Path
        The file to make; its folder exists.
    frames : iterable of arrays, each of shape (rows, columns)
        Together they are held in memory once.
    shape : tuple of int
        Frames, rows, columns.
    dtype : data type
        Of the dataset.

    Raises
    ------
    FrameFileError
        If the disk is full or the folder not writable. Nothing is left under `path`.
    ValueError
        If there are more or fewer frames than `shape` says.
    """
    # The file is made in memory, and HDF5 never meets the disk: when a disk is full, HDF5 fails
    # in closing its file, and the process ends with a segmentation fault (h5py 3.14).
    content = io.BytesIO()
    with h5py.File(content, "w") as file:
        dataset = file.create_dataset(FRAME_DATASET, shape, dtype, chunks=(1, *shape[1:]))
        written = 0
        for frame in frames:
            if written == shape[0]:
                raise ValueError(f"expected {shape[0]} frames for {path.name}, got more")
            dataset[written] = frame
            written += 1
    if written != shape[0]:
        raise ValueError(f"expected {shape[0]} frames for {path.name}, got {written}")
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_bytes(content.getbuffer())
        os.replace(partial, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink()
        raise FrameFileError(
            f"cannot write the frames to {path}: {_reason(error)}. Free space on the disk, or give the "
            "detector another data_directory that exists and is writable"
        ) from error


def _reason(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)
