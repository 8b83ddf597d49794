"""Read frames from the files that documents refer to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.frame_finder import FrameReference

__all__ = ["FrameReadError", "read_frames"]

RETRY_INTERVAL = 0.05


class FrameReadError(OSError):
    """A frame can't be read from its file.

    Parameters
    ----------
    message : str
    in_use : bool
        As long as the detector has the file open; it can be read afterwards.
    """

    def __init__(self, message: str, in_use: bool = False) -> None:
        super().__init__(message)
        self.in_use = in_use


OPEN_IN_DETECTOR = (
    "the detector still has the file open, so that it can be read after the run only. To have frames "
    "labelled while they are measured, let it write in SWMR mode and flush each frame (AreaDetector's HDF5 "
    "plugin: SWMRMode and NumFramesFlush = 1)"
)


def read_frames(
    references: Sequence[FrameReference],
    patience: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[NDArray[Any] | FrameReadError]:
    """Read frames, neighbours in one file at once, and the times at which they were taken.

    Parameters
    ----------
    references : sequence of FrameReference
        Where their file holds the times of its frames, `timestamp` is set.
    patience : float
        Seconds to wait in all for files that are late.
    sleep : callable
        For tests.

    Returns
    -------
    list
        For each reference the pixels, shape (rows, columns), or the error.
    """
    deadline = time.monotonic() + patience
    frames: list[NDArray[Any] | FrameReadError] = []
    for (path, dataset), group in itertools.groupby(references, key=lambda r: (r.path, r.dataset)):
        members = list(group)
        if not path:
            frames += [_at_hand(reference) for reference in members]
            continue
        while True:
            try:
                frames += _read_file(path, dataset, members)
                break
            except (OSError, KeyError, ValueError) as error:
                if time.monotonic() >= deadline:
                    frames += [_reason(path, dataset, error)] * len(members)
                    break
                sleep(RETRY_INTERVAL)
    return frames


def _reason(path: str, dataset: str, error: Exception) -> FrameReadError:
    if isinstance(error, BlockingIOError):  # locked
        return FrameReadError(f"{path}: {OPEN_IN_DETECTOR}", in_use=True)
    return FrameReadError(f"{path}, dataset {dataset}: {error}")


def _at_hand(reference: FrameReference) -> NDArray[Any] | FrameReadError:
    if reference.pixels is None:
        return FrameReadError(
            f"frame {reference.frame_index} of {reference.detector.image_key}: "
            "the run holds no Datum and Resource for it"
        )
    return reference.pixels


def _read_file(path: str, dataset: str, references: Sequence[FrameReference]) -> list[NDArray[Any]]:
    """Read frames by their index along all axes but the last two, and their times."""
    indices = [reference.index for reference in references]
    with _open(path) as file:
        data = file[dataset]
        if data.ndim not in (2, 3):
            raise ValueError(f"expected frames along 2 or 3 dimensions, found the shape {data.shape}")
        if data.ndim == 2:
            return [data[()] for _ in indices]
        if max(indices) >= data.shape[0]:
            raise ValueError(f"frame {max(indices)} is not in it: it holds {data.shape[0]}")
        for reference in references:
            if reference.timestamps:
                reference.timestamp = float(file[reference.timestamps][reference.index])
        first, last = min(indices), max(indices)
        if last - first + 1 == len(indices):
            block = data[first : last + 1]
            return [np.asarray(block[i - first]) for i in indices]
        return [data[i] for i in indices]


def _open(path: str) -> h5py.File:
    """Open a file to read it.

    While another process writes it in SWMR mode, or after that was killed, it opens as such only.
    """
    try:
        return h5py.File(path, "r")
    except FileNotFoundError:
        raise
    except OSError as error:
        try:
            return h5py.File(path, "r", libver="latest", swmr=True)
        except OSError:
            raise error from None  # it says whether the file is locked
