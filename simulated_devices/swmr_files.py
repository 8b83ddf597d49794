"""One HDF5 file that grows by a frame at a time and can be read meanwhile (SWMR).

Use :class:`SwmrFrameFile` where many frames come without a stop between them. Where each
exposure stands for itself, a closed file for each (`frame_files`) is simpler and safer.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import h5py
import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulated_devices.frame_files import FRAME_DATASET, FrameFileError

__all__ = ["TIMESTAMP_DATASET", "SwmrFrameFile"]

TIMESTAMP_DATASET = "/entry/data/timestamps"
"""Path of the times of the frames inside a file, seconds since the epoch, float64."""

_METADATA_BYTES = 1 << 18
"""More than HDF5 writes besides a frame when a file grows by one."""


class SwmrFrameFile:
    """Frames of one shape, each visible to readers when :meth:`append` returns.

    Other processes open the file with ``libver="latest", swmr=True``. Use it in a `with`
    statement, or close it.

    Parameters
    ----------
    path : Path
        The file to make; its folder exists.
    shape : tuple of int
        Rows and columns of a frame.
    dtype : data type
        Of a frame.
    columns : mapping of str to data type
        Paths of further datasets of one value for each frame.

    Raises
    ------
    FrameFileError
        If the disk is full or the folder not writable.
    """

    def __init__(
        self,
        path: Path,
        shape: tuple[int, int],
        dtype: DTypeLike,
        columns: Mapping[str, DTypeLike] | None = None,
    ) -> None:
        self._path = path
        self._frame_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        try:
            # Room for what HDF5 writes at first, see _reserve.
            path.write_bytes(bytes(_METADATA_BYTES + self._frame_bytes))
            self._file = h5py.File(path, "w", libver="latest")
            self._descriptor = os.open(path, os.O_WRONLY)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise self._failure(error) from error
        self._columns = {
            name: self._file.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(512,))
            for name, kind in {TIMESTAMP_DATASET: "<f8", **(columns or {})}.items()
        }
        self._frames = self._file.create_dataset(
            FRAME_DATASET, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape)
        )
        self._file.swmr_mode = True

    def __len__(self) -> int:
        """Give the number of frames."""
        return len(self._frames)

    def append(self, frame: NDArray[Any], timestamp: float, values: Mapping[str, Any] | None = None) -> None:
        """Write a frame.

        Parameters
        ----------
        frame : array, shape (rows, columns)
        timestamp : float
            When it was taken, in seconds since the epoch.
        values : mapping
            One for each of the further columns, by its path.

        Raises
        ------
        FrameFileError
            If the disk is full. The frames before stay readable.
        """
        try:
            self._reserve()
            index = len(self._frames)
            # The frame last: a reader that sees it sees its time.
            row = {TIMESTAMP_DATASET: timestamp, **(values or {})}
            columns = [(dataset, row[name]) for name, dataset in self._columns.items()]
            for dataset, value in (*columns, (self._frames, frame)):
                dataset.resize(index + 1, axis=0)
                dataset[index] = value
                dataset.flush()
        except OSError as error:
            raise self._failure(error) from error

    def _reserve(self) -> None:
        """Write zeros behind the end of the file, where HDF5 is going to write the next frame.

        When HDF5 itself meets a full disk it fails again in closing the file, and the process ends
        with a segmentation fault (h5py 3.14). So the disk is asked first, without HDF5. To ask for
        the free space would not do: another process may take it, and a quota does not show in it.
        """
        size = os.fstat(self._descriptor).st_size
        end = self._file.id.get_filesize() + self._frame_bytes + _METADATA_BYTES
        while size < end:
            size += os.pwrite(self._descriptor, bytes(end - size), size)

    def _failure(self, error: OSError) -> FrameFileError:
        reason = os.strerror(error.errno) if error.errno else str(error)
        return FrameFileError(
            f"cannot write frames to {self._path}: {reason}. Free space on the disk, or give the detector "
            "another data_directory that exists and is writable"
        )

    def close(self) -> None:
        """Close the file, after which it is a common HDF5 file."""
        self._file.close()
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        """Give the file itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()
