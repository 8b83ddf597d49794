"""What is done to a frame before anything else: a dark frame is subtracted, a flat field divided by."""

from __future__ import annotations

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.geometry import FrameGeometry

__all__ = ["Correction"]


@dataclass(frozen=True, eq=False)
class Correction:
    """Corrects the frames of one detector: (frame - dark) / flat.

    Parameters
    ----------
    dark : array, shape (rows, columns), optional
        What the detector shows with the shutter closed.
    light : array, shape (rows, columns), optional
        What it shows where the same light falls on all pixels; without `dark`, if that is given.

    Attributes
    ----------
    flat : array, shape (rows, columns), float32, or None
        What each pixel shows of the same light, 1 on average; 1 where it shows none.
    blind : array of bool or None
        Pixels that show no light, and are left out; None if there are none.
    """

    dark: NDArray[np.float32] | None = None
    light: NDArray[np.float32] | None = None
    flat: NDArray[np.float32] | None = field(init=False, default=None)
    blind: NDArray[np.bool_] | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        if self.light is None:
            return
        light = self.light if self.dark is None else self.light - self.dark
        seen = np.isfinite(light) & (light > 0)
        mean = light[seen].mean(dtype=np.float64) if seen.any() else 1.0
        flat = np.where(seen, light / mean, 1.0).astype(np.float32)
        object.__setattr__(self, "flat", flat)
        object.__setattr__(self, "blind", None if seen.all() else ~seen)

    def __call__(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Correct a frame, shape (rows, columns)."""
        values = frame.astype(np.float32)
        if self.dark is not None:
            values -= self.dark
        if self.flat is not None:
            values /= self.flat
        return values

    def without_blind(self, geometry: FrameGeometry) -> FrameGeometry:
        """Give the geometry of the corrected frames; the same one each time, so that it is prepared once."""
        return _without_blind(self, geometry)


@functools.lru_cache(maxsize=16)
def _without_blind(correction: Correction, geometry: FrameGeometry) -> FrameGeometry:
    blind = correction.blind
    if blind is None or blind.shape != geometry.shape:
        return geometry
    mask = blind if geometry.mask is None else geometry.mask | blind
    return FrameGeometry(geometry.shape, geometry.beam_center, mask)
