"""From a map to disks: peaks between the points, radii from their heights, and the torus cut open."""

from __future__ import annotations

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

__all__ = ["cut_torus", "disks_from_density", "find_peaks", "near", "upsample"]

UPSAMPLING = 3


def upsample(density: NDArray[np.float64], factor: int = UPSAMPLING) -> NDArray[np.float64]:
    """Interpolate a periodic map by its Fourier series."""
    n = len(density)
    waves = scipy.fft.rfft2(density)
    m = n * factor
    padded = np.zeros((m, m // 2 + 1), waves.dtype)
    low = n // 2
    padded[:low, : n // 2] = waves[:low, : n // 2]
    padded[-low + 1 :, : n // 2] = waves[-low + 1 :, : n // 2]
    return np.asarray(scipy.fft.irfft2(padded, s=(m, m))) * factor**2


def find_peaks(
    values: NDArray[np.float64], spacing: float, most: int, threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find maxima of a periodic map, between its points by parabolas.

    Parameters
    ----------
    values : array, shape (n, n)
    spacing : float
        Between points.
    most : int
        Give at most so many, the highest.
    threshold : float
        As a share of the highest.

    Returns
    -------
    positions : array, shape (peaks, 2)
    heights : array, shape (peaks,)
    """
    n = len(values)
    highest = (values == maximum_filter(values, size=3, mode="wrap")) & (values > threshold * values.max())
    index = np.argwhere(highest)
    heights = values[highest]
    order = np.argsort(-heights, kind="stable")[:most]
    index, heights = index[order], heights[order]
    positions = np.empty((len(index), 2))
    for axis in (0, 1):
        step = np.eye(2, dtype=int)[axis]
        before, after = (values[tuple(((index + s * step) % n).T)] for s in (-1, 1))
        curvature = before - 2.0 * heights + after
        off = np.where(curvature < 0, 0.5 * (before - after) / np.minimum(curvature, -1e-30), 0.0)
        positions[:, axis] = (index[:, axis] + off) * spacing
    return positions, heights


def cut_torus(
    positions: NDArray[np.float64], heights: NDArray[np.float64], period: float, extent: float
) -> NDArray[np.float64]:
    """Unroll periodic positions so that the weight lies within one extent, along each axis."""
    positions = positions.copy()
    for axis in (0, 1):
        x = positions[:, axis] % period
        from_each = (x[None, :] - x[:, None]) % period
        outside = (heights * (from_each > extent)).sum(axis=1)
        spread = np.where(from_each <= extent, from_each, 0.0).max(axis=1)
        start = x[np.lexsort((spread, outside))[0]]
        x = (x - start) % period
        positions[:, axis] = np.where(x > (period + extent) / 2.0, x - period, x)
    return positions


def near(positions: NDArray[np.float64], others: NDArray[np.float64], period: float) -> NDArray[np.float64]:
    """Give those images of periodic positions that are nearest to the middle of others."""
    middle = (others.min(axis=0) + others.max(axis=0)) / 2.0
    return np.asarray((positions - middle + period / 2.0) % period + middle - period / 2.0)


def disks_from_density(
    density: NDArray[np.float64], spacing: float, radius: float, extent: float, threshold: float, most: int
) -> NDArray[np.float64]:
    """Take the peaks of a density for disks, their areas in proportion to the heights.

    Parameters
    ----------
    density : array, shape (n, n)
    spacing : float
    radius : float
        Effective radius, which that of all disks together will be.
    extent : float
        Of the sample.
    threshold, most
        As for :func:`find_peaks`.

    Returns
    -------
    array, shape (disks, 3)
        x, y, r.
    """
    positions, heights = find_peaks(upsample(density), spacing / UPSAMPLING, most, threshold)
    if not len(positions):
        return np.empty((0, 3))
    positions = cut_torus(positions, heights, len(density) * spacing, extent)
    r = np.sqrt(heights / heights.max())
    r *= radius * np.sqrt((r**4).sum() / (r**6).sum())
    within = ((positions > -0.05 * extent) & (positions < 1.05 * extent)).all(axis=1)
    return np.column_stack([positions, r])[within]
