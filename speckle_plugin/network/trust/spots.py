"""Numbers of the spots of Patterson maps, by which disks are counted.

Each pair of disks is a spot, so that n disks give n (n - 1) / 2 of them, and the height of a spot hangs on
the sizes of the two. A few maps, sharpened differently, tell both. Where the spots are does not matter,
beyond the distances at which a disk meets itself. What is taken of a map: how many points and how many peaks
have which height, how high the peaks of some ranks are, and the profile about the origin. All heights are in
units of that of the origin.

The map is that of the whole plane of distances: both quadrants of a frame with the beam inside tell which
way the two disks of a pair lie. One quadrant alone tells it too, but not as clearly.

The last map is of intensities that are divided by what their ring has on average, and one photon more where
photons are counted: then no ring outweighs the others, and those of a few photons count little.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dct, dst

from speckle_plugin.network.trust import kernels
from speckle_plugin.network.trust.statistics import COUNTED, PHOTONS
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing
from speckle_plugin.preprocessing.patterson import fill_view, pixel_weights
from speckle_plugin.preprocessing.quadrants import Quadrant, quadrants
from speckle_plugin.preprocessing.radial import rings_of

__all__ = ["SPOTS", "SpotMaps", "frame_spots", "quadrants_for", "whole_map"]

SHARPENINGS = (1.0, 2.0, 3.0)
"""Powers of |k| by which the intensity is weighted for a map of its own."""

BINS = 40
SOFTNESS = 0.004
RANGE = (-0.02, 1.0)
"""Heights of the histograms, in bins of equal width of ``arcsinh(height / SOFTNESS)``."""

RANKS = np.unique([n * (n - 1) // 2 - 1 for n in range(2, 24)] + [n * n // 2 - 1 for n in range(5, 23)])
"""Of the peaks whose height is taken, from 0 for the highest: the last of 2, 3, ... disks, and between."""

LOWEST = 1e-5
PROFILE = 40


@dataclass(frozen=True)
class SpotMaps:
    """Which part of the Patterson maps is looked at, and how finely; it depends on the grid of pixels.

    Parameters
    ----------
    rows : int
        Rows, and columns, of the quadrants that the maps are made of.
    near : float
        Points, from the origin on, at which a disk meets itself; peaks there do not count.
    points : int
        Rows and columns, from the origin on: those at which two disks of the box may meet.
    oversampling : int
        Points for each one of the plain map.
    quadrants : int
        With 2 the two quadrants of a frame make one map, else each makes its own.
    """

    rows: int
    near: float
    points: int
    oversampling: int = 1
    quadrants: int = 1


SPOTS: dict[str, int] = {
    **{f"sharpened by {power:g}": 2 * BINS + len(RANKS) + PROFILE for power in SHARPENINGS},
    "normalized": 2 * BINS + len(RANKS) + PROFILE,
}
"""Maps, in their order, and how many numbers there are of each."""


def frame_spots(
    frame: NDArray[Any],
    statistics: NDArray[np.float32],
    geometry: FrameGeometry,
    settings: Preprocessing,
    maps: SpotMaps,
) -> NDArray[np.float32]:
    """Compute the statistics of the spots of a frame, shape (maps, sum of `SPOTS`).

    Parameters
    ----------
    frame : array, shape `geometry.shape`
    statistics : array
        Of this frame, see :func:`speckle_plugin.network.trust.statistics.frame_statistics`: they tell how
        many photons it has.
    geometry : FrameGeometry
    settings : Preprocessing
        Of the network: the blocked centre is taken from it.
    maps : SpotMaps

    Returns
    -------
    array, shape (1, numbers) or (views, numbers), float32
        See `SpotMaps.quadrants`.

    Raises
    ------
    ValueError
        If the frame does not have so many quadrants of so many rows.
    """
    seen = quadrants_for(geometry, settings, maps)
    if seen is None:
        raise ValueError(f"the frame does not have {maps.quadrants} quadrants of {maps.rows} rows")
    photons = float(10.0 ** statistics[PHOTONS]) if statistics[COUNTED] > 0.5 else math.inf
    weighted = [_weighted(quadrant.average(frame), photons, quadrant, settings) for quadrant in seen]
    together = [weighted] if maps.quadrants == 2 else [[of_view] for of_view in weighted]
    found = [
        [_of_map(whole_map(of_map, maps), maps) for of_map in zip(*each, strict=True)] for each in together
    ]
    return np.array(found, np.float32).reshape(len(found), -1)


@functools.lru_cache(maxsize=16)
def quadrants_for(
    geometry: FrameGeometry, settings: Preprocessing, maps: SpotMaps
) -> tuple[Quadrant, ...] | None:
    """Give the quadrants of a frame that maps are made of; None if it has too few, or too small ones."""
    found = quadrants(geometry, replace(settings, crop=maps.rows))
    whole = all(quadrant.valid.shape == (maps.rows, maps.rows) for quadrant in found)
    return found if whole and len(found) >= maps.quadrants else None


def _weighted(
    pixels: NDArray[np.float32], photons: float, quadrant: Quadrant, settings: Preprocessing
) -> list[NDArray[np.float32]]:
    """Give a quadrant weighted for each map; it has so many photons, infinitely many if none are counted."""
    pixels = np.maximum(pixels, np.float32(0.0))
    plain = _sharpened(settings, quadrant, 0.0)
    rings = rings_of(quadrant, plain)
    means = rings.mean @ pixels + pixels.sum() / np.float32(photons)
    # A ring without light stays dark; of the faintest numbers there are no inverse ones.
    lit = means >= kernels.FAINTEST
    inverse = np.divide(np.float32(1.0), means, out=np.zeros_like(means), where=lit)
    view, normalized = np.zeros((2, *quadrant.valid.shape), np.float32)
    fill_view(view, pixels, quadrant, plain)
    fill_view(normalized, pixels * inverse[rings.ring], quadrant, plain)
    settings_of = (_sharpened(settings, quadrant, power) for power in (*SHARPENINGS, 0.0))
    weights = [pixel_weights(*view.shape, of_map)[0] for of_map in settings_of]
    return [*(view * of_map for of_map in weights[:-1]), normalized * weights[-1]]


def whole_map(weighted: Sequence[NDArray[np.float32]], maps: SpotMaps) -> NDArray[np.float32]:
    """Transform one or two quadrants to the half of the map with distances along the rows from 0 on.

    The intensity is that at k and -k. So the map is the sum over a quadrant, and the one beside it, of
    ``I cos(x kx) cos(y ky)`` less ``I sin(x kx) sin(y ky)``, the latter with the other sign beside.

    Returns
    -------
    array, shape (points, 2 points - 1)
    """
    one, *other = weighted
    even = _transform(dct, one + other[0] if other else one, 0, maps)
    odd = _transform(dst, one - other[0] if other else one, 1, maps)
    whole = np.empty((maps.points, 2 * maps.points - 1), np.float32)
    beside, here = whole[:, maps.points - 1 :: -1], whole[:, maps.points - 1 :]
    beside[:], here[:] = even, even
    end = len(odd) + 1
    beside[1:end, 1:end] += odd
    here[1:end, 1:end] -= odd
    return whole


def _transform(
    transform: Callable[..., Any], quadrant: NDArray[np.float32], first: int, maps: SpotMaps
) -> NDArray[np.float32]:
    """Transform along both axes, and keep the points of the maps from the `first` on."""
    # Of n points of a sine transform the first and the last are 0, and not asked for.
    whole = maps.oversampling * (len(quadrant) - 1) + 1 - 2 * first
    kept = maps.points - first
    along = transform(quadrant[first:, first:], type=1, n=whole, axis=1)[:, :kept]
    found: NDArray[np.float32] = transform(along.T.copy(), type=1, n=whole, axis=1, overwrite_x=True)
    return found[:, :kept].T


@functools.lru_cache(maxsize=32)
def _sharpened(settings: Preprocessing, quadrant: Quadrant, power: float) -> Preprocessing:
    rows = max(quadrant.valid.shape)
    return replace(
        settings, intensity="patterson", crop=rows, sharpening=power, oversampling=1, map_size=None
    )


def _of_map(patterson: NDArray[np.float32], maps: SpotMaps) -> NDArray[np.float64]:
    middle = maps.points - 1
    origin = float(patterson[0, middle])
    if not origin > 0:
        return np.zeros(2 * BINS + len(RANKS) + PROFILE)
    scale = np.float32(1.0 / (origin * SOFTNESS))
    points, peaks, heights = kernels.map_heights(patterson, middle, scale, maps.near, bin_table())
    most = int(RANKS[-1]) + 1
    if heights.size > most:
        heights = np.partition(heights, heights.size - most)[-most:]
    ranked = np.full(most, LOWEST)
    ranked[: heights.size] = np.maximum(np.sort(heights)[::-1] * SOFTNESS, LOWEST)
    ring, counts = _near_rings()
    about = patterson[:PROFILE, middle - PROFILE + 1 : middle + PROFILE]
    profile = np.bincount(ring, about.ravel())[:PROFILE] / counts / origin
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
    distances = np.hypot(np.arange(PROFILE)[:, None], np.arange(1 - PROFILE, PROFILE)[None, :])
    ring = np.rint(distances).astype(np.intp).ravel()
    return ring, np.bincount(ring)[:PROFILE]
