"""Write frames with their disk numbers into one .npz or HDF5 file, one frame at a time."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

__all__ = ["SUFFIXES", "write_frames"]

SUFFIXES = (".npz", ".h5", ".hdf5")

LabelledFrames = Iterable[tuple[NDArray[np.float32], int]]


def write_frames(
    path: Path,
    suffix: str,
    frames: LabelledFrames,
    shape: tuple[int, int, int],
    attributes: Mapping[str, Any],
) -> None:
    """Write frames and disk numbers.

    Parameters
    ----------
    path : Path
    suffix : str
        Of the file's final name: `.npz` or an HDF5 one. Decides the format.
    frames : iterable of (frame, disk number)
        As many as `shape` says. Taken one at a time: no more than one is in memory.
    shape : tuple of int
        Frames, rows, columns.
    attributes : mapping
        Further arrays of the .npz file, or attributes of the HDF5 file.
    """
    write = _write_npz if suffix == ".npz" else _write_hdf5
    write(path, frames, shape, attributes)


def _write_hdf5(
    path: Path, frames: LabelledFrames, shape: tuple[int, int, int], attributes: Mapping[str, Any]
) -> None:
    with h5py.File(path, "w") as file:
        dataset = file.create_dataset("frames", shape, np.float32, chunks=(1, *shape[1:]))
        disk_numbers = file.create_dataset("disk_number", shape[:1], np.int64)
        for index, (frame, disk_number) in enumerate(frames):
            dataset[index] = frame
            disk_numbers[index] = disk_number
        file.attrs.update(attributes)


def _write_npz(
    path: Path, frames: LabelledFrames, shape: tuple[int, int, int], attributes: Mapping[str, Any]
) -> None:
    # numpy.savez would need all frames at once; the format is a zip of .npy files.
    disk_numbers = []
    header = {"descr": "<f4", "fortran_order": False, "shape": shape}
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open("frames.npy", "w", force_zip64=True) as member:
            np.lib.format.write_array_header_1_0(member, header)
            for frame, disk_number in frames:
                member.write(np.ascontiguousarray(frame, "<f4").tobytes())
                disk_numbers.append(disk_number)
        for name, value in {"disk_number": disk_numbers, **attributes}.items():
            with archive.open(f"{name}.npy", "w") as member:
                np.lib.format.write_array(member, np.asarray(value), allow_pickle=False)
