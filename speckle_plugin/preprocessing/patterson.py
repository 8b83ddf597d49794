"""The Patterson map of a quadrant, in which each pair of disks is a spot at its distance.

Why the network sees this map: docs/decisions/0005-patterson-map.md.
"""

from __future__ import annotations

import functools
import math
import os

import numpy as np
from numpy.typing import NDArray
from scipy.fft import dctn

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.quadrants import Quadrant, quadrants
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["fill_view", "has_gaps", "map_points", "map_spacing", "patterson_maps", "pixel_weights"]


def patterson_maps(
    pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> NDArray[np.float32]:
    """Compute the Patterson maps of a view of N frames, by its unmasked pixels, shape (N, pixels).

    Source: Patterson, Phys. Rev. 46, 372 (1934); sharpening after Lipson and Cochran, The
    Determination of Crystal Structures, 1966, chapter 7.
    """
    rows, columns = quadrant.valid.shape
    weights, _ = pixel_weights(rows, columns, settings)
    full = np.zeros((len(pixels), *map_points(quadrant.valid.shape, settings)), np.float32)
    for values, whole in zip(pixels, full, strict=True):
        view = whole[:rows, :columns]
        fill_view(view, values, quadrant, settings)
        view *= weights
    workers = min(len(pixels), os.cpu_count() or 1)
    maps = dctn(full, type=1, axes=(1, 2), overwrite_x=True, workers=workers)
    return maps[:, : settings.map_size, : settings.map_size]


def fill_view(
    view: NDArray[np.float32], values: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> None:
    """Put the unmasked pixels of a view, shape (pixels,), in their places, and ring means in the gaps."""
    view[quadrant.valid] = values
    if has_gaps(quadrant, settings):
        ring, counts, masked, ring_of_masked = _rings_about_gaps(quadrant, settings)
        means = np.bincount(ring, values, minlength=counts.size) / counts
        view[masked] = means[ring_of_masked]


@functools.lru_cache(maxsize=16)
def _rings_about_gaps(
    quadrant: Quadrant, settings: Preprocessing
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Give the ring of each unmasked pixel, how many a ring has, which are masked, and the ring of each."""
    _, rings = pixel_weights(*quadrant.valid.shape, settings)
    ring = rings[quadrant.valid]
    counts = np.maximum(np.bincount(ring, minlength=rings.max() + 1), 1)
    return ring, counts, ~quadrant.valid, rings[~quadrant.valid]


@functools.lru_cache(maxsize=16)
def has_gaps(quadrant: Quadrant, settings: Preprocessing) -> bool:
    """Tell whether masked pixels that count in the Patterson map are to be filled."""
    weights, _ = pixel_weights(*quadrant.valid.shape, settings)
    return not quadrant.valid[weights > 0].all()


def map_points(shape: tuple[int, int], settings: Preprocessing) -> tuple[int, int]:
    """Points of the whole Patterson map: a frame that ends before the crop gives as many."""
    height, width = (settings.oversampling * (max(n, settings.crop or n) - 1) + 1 for n in shape)
    return height, width


@functools.lru_cache(maxsize=16)
def pixel_weights(
    rows: int, columns: int, settings: Preprocessing
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Give weight, and rounded distance from the beam, of each pixel of a view.

    The weight rises with a power of |k|, is tapered to 0 at the edge, and is 0 in the blocked centre.
    """
    i, j = np.arange(rows), np.arange(columns)
    k = np.hypot(i[:, None], j[None, :])
    taper = np.outer(np.cos(0.5 * np.pi * i / rows) ** 2, np.cos(0.5 * np.pi * j / columns) ** 2)
    blocked = np.outer(i <= settings.center_half_width, j <= settings.center_half_width)
    weights = np.where(blocked, 0.0, (k / max(rows, columns)) ** settings.sharpening * taper)
    return weights.astype(np.float32), np.rint(k).astype(np.intp)


def map_spacing(settings: Preprocessing, geometry: FrameGeometry, k_step: float) -> tuple[float, float]:
    """Give the distance between disks that one row, and one column, of the Patterson map stands for.

    Point m of n along an axis is at ``m * pi / (k_step * (n - 1))``, n counted before `map_size`.

    Parameters
    ----------
    settings : Preprocessing
    geometry : FrameGeometry
    k_step : float
        Wave number per pixel of the detector.

    Returns
    -------
    tuple of float
        In the unit of length whose inverse the k step is in.

    Raises
    ------
    ValueError
        If the k step is not positive, or too little of the frame is left around the beam to classify.
    """
    if not k_step > 0:
        raise ValueError(f"k_step must be a positive wave number per pixel, not {k_step}")
    height, width = map_points(quadrants(geometry, settings)[0].valid.shape, settings)
    return math.pi / (k_step * (height - 1)), math.pi / (k_step * (width - 1))
