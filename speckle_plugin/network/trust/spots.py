"""Numbers of the spots of Patterson maps, by which disks are counted.

Each pair of disks is a spot, so that n disks give n (n - 1) / 2 of them, and the height of a spot hangs on
the sizes of the two. A few maps, sharpened differently, tell both. Where the spots are does not matter,
beyond the distances at which a disk meets itself. What is taken of a map: how many points and how many peaks
have which height, how high the peaks of some ranks are, and the profile about the origin. All heights are in
units of that of the origin.
"""

from __future__ import annotations

import functools
import math
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from speckle_plugin.network.trust import kernels
from speckle_plugin.network.trust.statistics import View
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.preprocessing.patterson import fill_view, pixel_weights
from speckle_plugin.preprocessing.quadrants import Quadrant
from speckle_plugin.preprocessing.radial import rings_of

__all__ = ["SPOTS", "frame_spots", "spot_statistics"]

SHARPENINGS = (2.0, 3.0, 4.0)
"""Powers of |k| by which the intensity is weighted for a map of its own."""

BINS = 40
SOFTNESS = 0.004
RANGE = (-0.02, 1.0)
"""Heights of the histograms, in bins of equal width of ``arcsinh(height / SOFTNESS)``."""

RANKS = np.unique([n * (n - 1) // 2 - 1 for n in range(2, 24)] + [n * n // 2 - 1 for n in range(5, 23)])
"""Of the peaks whose height is taken, from 0 for the highest: the last of 2, 3, ... disks, and between."""

LOWEST = 1e-5
PROFILE = 40

SPOTS: dict[str, int] = {
    **{f"sharpened by {power:g}": 2 * BINS + len(RANKS) + PROFILE for power in SHARPENINGS},
    "normalized": 2 * BINS + len(RANKS) + PROFILE,
}
"""Maps, in their order, and how many numbers there are of each."""


def frame_spots(
    frame: NDArray[Any], views: tuple[View, ...], settings: Preprocessing, near: float
) -> NDArray[np.float32]:
    """Compute the statistics of the spots of each view of a frame, shape (views, sum of `SPOTS`).

    Parameters
    ----------
    frame : array, shape (rows, columns)
    views : tuple of View
    settings : Preprocessing
        Of the network.
    near : float
        See :func:`spot_statistics`.
    """
    quadrants = [view.quadrant for view in views]
    return np.stack([spot_statistics(q.average(frame), q, settings, near) for q in quadrants])


def spot_statistics(
    pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing, near: float
) -> NDArray[np.float32]:
    """Compute the statistics of the spots of a quadrant.

    Parameters
    ----------
    pixels : array, shape (pixels,), float32
        Its unmasked ones, see :meth:`speckle_plugin.preprocessing.quadrants.Quadrant.average`.
    quadrant : Quadrant
    settings : Preprocessing
        Of the network: the blocked centre is taken from it.
    near : float
        Points of the map, from the origin on, at which a disk meets itself; peaks there do not count.

    Returns
    -------
    array, shape (sum of `SPOTS`,), float32
    """
    pixels = np.maximum(pixels, np.float32(0.0))
    plain = _sharpened(settings, quadrant, 0.0)
    rings = rings_of(quadrant, plain)
    means = rings.mean @ pixels
    inverse = np.divide(np.float32(1.0), means, out=np.zeros_like(means), where=means > 0)
    shape = quadrant.valid.shape
    view, patterson = np.zeros((2, *shape), np.float32)
    found = []
    fill_view(view, pixels, quadrant, plain)
    for power in (*SHARPENINGS, 0.0):
        if power == 0.0:
            fill_view(view, pixels * inverse[rings.ring], quadrant, plain)
        weights, _ = pixel_weights(*shape, _sharpened(settings, quadrant, power))
        np.multiply(view, weights, out=patterson)
        dctn(patterson, type=1, overwrite_x=True)  # in its place: memory that is new each time is slow
        found.append(_of_map(patterson, near))
    return np.concatenate(found).astype(np.float32)


@functools.lru_cache(maxsize=32)
def _sharpened(settings: Preprocessing, quadrant: Quadrant, power: float) -> Preprocessing:
    rows = max(quadrant.valid.shape)
    return replace(
        settings, intensity="patterson", crop=rows, sharpening=power, oversampling=1, map_size=None
    )


def _of_map(patterson: NDArray[np.float32], near: float) -> NDArray[np.float64]:
    origin = float(patterson[0, 0])
    if not origin > 0:
        return np.zeros(2 * BINS + len(RANKS) + PROFILE)
    scale = np.float32(1.0 / (origin * SOFTNESS))
    points, peaks, heights = kernels.map_heights(patterson, scale, near, bin_table())
    most = int(RANKS[-1]) + 1
    if heights.size > most:
        heights = np.partition(heights, heights.size - most)[-most:]
    ranked = np.full(most, LOWEST)
    ranked[: heights.size] = np.maximum(np.sort(heights)[::-1] * SOFTNESS, LOWEST)
    ring, counts = _near_rings()
    corner = patterson[:PROFILE, :PROFILE].ravel()
    profile = np.bincount(ring, corner)[:PROFILE] / counts / origin
    return np.concatenate([np.log1p(points), np.log1p(peaks), np.log(ranked[RANKS]), profile])


@functools.cache
def bin_table() -> NDArray[np.int16]:
    """Give the bin of each float32 by its first 16 bits, of which eight are its exponent."""
    heights = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32)
    least, most = (math.asinh(height / SOFTNESS) for height in RANGE)
    with np.errstate(invalid="ignore"):
        place = (np.arcsinh(heights.astype(np.float64)) - least) / (most - least) * BINS
    return np.clip(np.nan_to_num(place), 0, BINS - 1).astype(np.int16)


@functools.cache
def _near_rings() -> tuple[NDArray[np.intp], NDArray[Any]]:
    ring = np.rint(np.hypot(*np.indices((PROFILE, PROFILE)))).astype(np.intp).ravel()
    return ring, np.bincount(ring)[:PROFILE]
