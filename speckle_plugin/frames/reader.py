"""Read frames from the files that documents refer to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.source import FrameFileError

__all__ = ["FrameReadError", "read_frames"]

RETRY_INTERVAL = 0.05


class FrameReadError(OSError):
    """A frame can't be read from its file.

    Parameters
    ----------
    message : str
    not_yet : bool
        It may be readable later: another program writes the file still, or it is not there yet.
    in_use : bool
        Another program, such as the detector, has the file locked; it can be read afterwards.
    """

    def __init__(self, message: str, not_yet: bool = False, in_use: bool = False) -> None:
        super().__init__(message)
        self.not_yet = not_yet or in_use
        self.in_use = in_use


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
            except FrameFileError as error:
                if not error.not_yet or time.monotonic() >= deadline:
                    why = f"{path}, dataset {dataset}: {error}"
                    frames += [FrameReadError(why, error.not_yet, error.in_use)] * len(members)
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


def _read_file(path: str, dataset: str, references: Sequence[FrameReference]) -> list[NDArray[Any]]:
    """Read frames by their index along all axes but the last two, and their times."""
    with open_source(path, dataset or None) as source:
        # A file of one frame holds that of the document, whichever number this gives it.
        indices = [0 if source.is_single else reference.index for reference in references]
        for reference in references:
            if reference.timestamps:
                reference.timestamp = source.number(reference.timestamps, reference.index)
        first, last = min(indices), max(indices)
        if last - first + 1 == len(indices):
            block = source.read(first, last + 1)
            return [block[i - first] for i in indices]
        return [source.read(i, i + 1)[0] for i in indices]
