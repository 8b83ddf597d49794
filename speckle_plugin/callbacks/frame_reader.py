"""Read frames from the files that documents refer to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.callbacks.frame_finder import FrameReference

__all__ = ["FrameReadError", "read_frames"]

RETRY_INTERVAL = 0.05


class FrameReadError(OSError):
    """A frame can't be read from its file."""


def read_frames(
    references: Sequence[FrameReference],
    patience: float = 1.0,
    sleep: Callable[[float], None] = time.sleep,
) -> list[NDArray[Any] | FrameReadError]:
    """Read frames, neighbours in one file at once.

    Parameters
    ----------
    references : sequence of FrameReference
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
                frames += _read_file(path, dataset, [r.index for r in members])
                break
            except (OSError, KeyError, ValueError) as error:
                if time.monotonic() >= deadline:
                    reason = FrameReadError(f"{path}, dataset {dataset}: {error}")
                    frames += [reason] * len(members)
                    break
                sleep(RETRY_INTERVAL)
    return frames


def _at_hand(reference: FrameReference) -> NDArray[Any] | FrameReadError:
    if reference.pixels is None:
        return FrameReadError(
            f"frame {reference.frame_index} of {reference.detector.image_key}: "
            "the run holds no Datum and Resource for it"
        )
    return reference.pixels


def _read_file(path: str, dataset: str, indices: list[int]) -> list[NDArray[Any]]:
    """Read frames by their index along all axes but the last two.

    A file that is still being written must be in SWMR mode, and then only opens so.
    """
    try:
        file = h5py.File(path, "r")
    except BlockingIOError:
        file = h5py.File(path, "r", libver="latest", swmr=True)
    with file:
        data = file[dataset]
        if data.ndim not in (2, 3):
            raise ValueError(f"expected frames along 2 or 3 dimensions, found the shape {data.shape}")
        if data.ndim == 2:
            return [data[()] for _ in indices]
        if max(indices) >= data.shape[0]:
            raise ValueError(f"frame {max(indices)} is not in it: it holds {data.shape[0]}")
        first, last = min(indices), max(indices)
        if last - first + 1 == len(indices):
            block = data[first : last + 1]
            return [np.asarray(block[i - first]) for i in indices]
        return [data[i] for i in indices]
