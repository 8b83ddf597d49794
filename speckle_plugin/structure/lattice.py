"""Intensities on a lattice that a Fourier transform can take, about as fine as the sample asks.

A frame's own pixels serve where the beam stands on one of them; a frame that is finer than needed is
thinned (averaged where it is noisy), and one with the beam between pixels is interpolated. Refinement
takes the pixels themselves, so a start may be rough.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, gaussian_filter, shift

from speckle_plugin.structure.observation import Observation

__all__ = ["Lattice", "lattice_of", "stride_for"]

WHOLE = 0.02
"""A beam this near to a pixel's middle counts as on it, for a start."""


@dataclass(frozen=True, eq=False)
class Lattice:
    """Intensities on a square lattice in k, in the order of an FFT.

    Parameters
    ----------
    intensity : array, shape (n, n)
        0 where not known.
    known, inside : array of bool, shape (n, n)
        Where the intensity is known; where it is wanted: up to the resolution.
    k : array, shape (n, n)
        Length of k.
    step : float
        Between neighbouring points.
    """

    intensity: NDArray[np.float64]
    known: NDArray[np.bool_]
    inside: NDArray[np.bool_]
    k: NDArray[np.float64]
    step: float

    @property
    def period(self) -> float:
        """Of the maps that are transforms of this lattice, in units of length."""
        return 2.0 * np.pi / self.step

    @property
    def spacing(self) -> float:
        """Between points of those maps."""
        return self.period / len(self.k)

    def with_intensity(self, intensity: NDArray[np.float64], known: NDArray[np.bool_]) -> Lattice:
        """Give the lattice with other intensities."""
        return replace(self, intensity=np.where(known, intensity, 0.0), known=known)


def stride_for(k_step: float, extent: float) -> int:
    """How many pixels a lattice for a sample of this extent may step."""
    return max(1, int(np.pi / k_step / (1.03 * extent)))


def lattice_of(observation: Observation, resolution: float, stride: int) -> Lattice:
    """Put a frame's intensities on a lattice.

    Parameters
    ----------
    observation : Observation
    resolution : float
        Largest |k|.
    stride : int
        Pixels between points of the lattice.
    """
    values, known = observation.values, observation.known
    if stride > 1 and observation.noise != "none":
        weight = gaussian_filter(known.astype(float), stride / 4.0)
        values = gaussian_filter(np.where(known, values, 0.0), stride / 4.0) / np.maximum(weight, 1e-9)
    center = np.rint(observation.center).astype(int)
    offset = np.asarray(observation.center) - center
    if np.abs(offset).max() > WHOLE:
        filled = np.where(known, values, observation.radial_mean(observation.k))
        values = shift(filled, -offset, order=5, mode="nearest")
        known = binary_erosion(known, iterations=2, border_value=0)
    step = observation.k_step * stride
    farthest = max(max(c, n - 1 - c) for c, n in zip(center, values.shape, strict=True))
    most = max(int(min(resolution / step, farthest // stride)), 4)
    n = scipy.fft.next_fast_len(2 * most + 2)
    n += n % 2
    index = np.fft.fftfreq(n, 1.0 / n).astype(int)
    row, column = np.meshgrid(index, index, indexing="ij")
    k = np.hypot(row, column) * step
    inside = (k <= resolution) & (np.abs(row) <= most) & (np.abs(column) <= most)
    total, count = np.zeros((n, n)), np.zeros((n, n))
    for sign in (1, -1):  # a point and its Friedel mate
        i, j = center[0] + sign * row * stride, center[1] + sign * column * stride
        on_frame = inside & (i >= 0) & (i < values.shape[0]) & (j >= 0) & (j < values.shape[1])
        i, j = np.where(on_frame, i, 0), np.where(on_frame, j, 0)
        seen = on_frame & known[i, j]
        total += np.where(seen, values[i, j], 0.0)
        count += seen
    return Lattice(np.maximum(total / np.maximum(count, 1), 0.0), count > 0, inside, k, step)
