"""Where the beam stands on a frame, and which of its pixels do not count."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["FrameGeometry", "hash_mask"]


@dataclass(frozen=True, eq=False)
class FrameGeometry:
    """Where the beam stands on a frame, and which pixels do not count.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the raw frame.
    beam_center : tuple of float
        Row and column of k = 0; rounded to the nearest pixel where the frame is symmetrized.
    mask : array of bool or None, shape `shape`
        True where a pixel is to be left out (as in the NeXus and silx convention).

    Raises
    ------
    ValueError
        If the mask has another shape than the frame, or too little of the frame is left
        around the beam to classify.
    """

    shape: tuple[int, int]
    beam_center: tuple[float, float] = (0.0, 0.0)
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2:
            raise ValueError(f"a frame has two dimensions (rows, columns), not {len(shape)}: {self.shape}")
        object.__setattr__(self, "shape", shape)
        center = tuple(float(c) for c in self.beam_center)
        if len(center) != 2 or not all(math.isfinite(c) for c in center):
            raise ValueError(f"beam_center must be a finite (row, column), not {self.beam_center!r}")
        object.__setattr__(self, "beam_center", center)
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if mask.shape != shape:
                raise ValueError(
                    f"the mask has the shape {mask.shape}, the frames have {shape}: "
                    "give a mask with one entry per pixel of the detector, True where it is to be left out"
                )
            object.__setattr__(self, "mask", mask)

    @property
    def mask_hash(self) -> str:
        """SHA-256 of the user's mask, in hexadecimal; empty without a mask."""
        return "" if self.mask is None else hash_mask(self.mask)

    def unmasked(self, center_half_width: float) -> NDArray[np.bool_]:
        """Tell which pixels count: those outside of the mask and of the blocked centre, shape `shape`.

        Parameters
        ----------
        center_half_width : float
            Half width of the blocked square around the beam, in pixels; -1 if nothing is blocked.
        """
        near_row, near_column = (
            np.abs(np.arange(n) - c) <= center_half_width
            for n, c in zip(self.shape, self.beam_center, strict=True)
        )
        outside = ~(near_row[:, None] & near_column[None, :])
        return outside if self.mask is None else outside & ~self.mask


def hash_mask(mask: ArrayLike) -> str:
    """Give the SHA-256 of a mask, in hexadecimal."""
    return hashlib.sha256(np.packbits(np.asarray(mask, dtype=bool)).tobytes()).hexdigest()
