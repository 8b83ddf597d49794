"""Check what `speckle simulate` writes beside frames: the truth, and where the beam is."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.source import FrameFileError

__all__ = ["checked_truth", "stated_pair"]


def checked_truth(name: str, truth: Any, count: int) -> NDArray[np.int64] | None:
    """Give the disk numbers of frames; None where there are none.

    Raises
    ------
    FrameFileError
        If they are not `count` integers, or a single one.
    """
    if truth is None:
        return None
    truth = np.asarray(truth)
    if truth.dtype.kind not in "iu" or truth.shape not in ((count,), ()):
        raise FrameFileError(
            f"'disk_number' of {name} must be {count} integers, one per frame; "
            f"it is {truth.dtype} of the shape {truth.shape}"
        )
    return np.broadcast_to(truth.astype(np.int64), (count,))


def stated_pair(name: str, center: Any) -> tuple[float, float] | None:
    """Give a beam centre (row, column); None where there is none.

    Raises
    ------
    FrameFileError
        If it is not two finite numbers.
    """
    if center is None:
        return None
    pair = np.asarray(center)
    if pair.shape != (2,) or pair.dtype.kind not in "iuf" or not np.isfinite(pair).all():
        raise FrameFileError(f"'beam_center' of {name} must be (row, column), not {center!r}")
    return float(pair[0]), float(pair[1])
