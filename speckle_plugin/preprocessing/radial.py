"""The radial images: average and moments of the rings of a quadrant, drawn over its pixels again."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from speckle_plugin.preprocessing.patterson import map_points, pixel_weights
from speckle_plugin.preprocessing.quadrants import Quadrant
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["RADIAL_OFFSET", "Rings", "moment_images", "radial_image", "ring_moments", "rings_of"]

RADIAL_OFFSET = 1e-2
"""Added to the weighted radial average, in units of its mean, before its logarithm is taken."""


def radial_image(
    pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> NDArray[np.float32]:
    """Draw the weighted radial average over as many pixels as the Patterson map has columns."""
    rings = rings_of(quadrant, settings)
    weighted = rings.averaging @ pixels
    level = weighted.mean()
    if not level > 0:
        return np.zeros(rings.shape, np.float32)
    return (rings.drawing @ np.log(weighted / level + RADIAL_OFFSET)).reshape(rings.shape)


def moment_images(
    pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> list[NDArray[np.float32]]:
    """Draw the logarithm of each of the rings' moments, as :func:`radial_image` draws their averages."""
    rings = rings_of(quadrant, settings)
    moments = ring_moments(pixels, rings, settings.moments)
    return [(rings.drawing @ np.log(moment)).reshape(rings.shape) for moment in moments]


def ring_moments(pixels: NDArray[np.float32], rings: Rings, most: int) -> list[NDArray[np.float32]]:
    """Give ``mean(I**m) / mean(I)**m`` of each ring, for m from 2 to `most`; 1 of a ring without light."""
    means = rings.mean @ pixels
    lit = means > 0
    relative = pixels / np.where(lit, means, np.float32(1.0))[rings.ring]
    moments, power = [], relative
    for _ in range(2, most + 1):  # numpy's own third power takes as long as all the rest of the preprocessing
        power = power * relative
        moments.append(np.where(lit, rings.mean @ power, np.float32(1.0)))
    return moments


@dataclass(frozen=True, eq=False)
class Rings:
    """Rings of a view's unmasked pixels, a pixel wide, as linear maps.

    `ring` is that of each pixel, `mean` takes the pixels to the averages of the rings, `averaging` to
    weighted ones, `drawing` takes values of the rings to an image of `shape`, between two rings by
    interpolation.
    """

    ring: NDArray[np.intp]
    mean: csr_array
    averaging: csr_array
    drawing: csr_array
    shape: tuple[int, int]


@functools.lru_cache(maxsize=16)
def rings_of(quadrant: Quadrant, settings: Preprocessing) -> Rings:
    """Work out the rings of a view, once."""
    rows, columns = quadrant.valid.shape
    distances, ring, counts = np.unique(
        pixel_weights(rows, columns, settings)[1][quadrant.valid], return_inverse=True, return_counts=True
    )
    shares = (distances / distances[-1]) ** settings.sharpening / counts
    pixels = np.arange(ring.size)
    averaging = csr_array((shares[ring], (ring, pixels)), dtype=np.float32)
    mean = csr_array((1.0 / counts[ring], (ring, pixels)), dtype=np.float32)

    points = map_points(quadrant.valid.shape, settings)[1]
    shape = (settings.radial_rows, min(points, settings.map_size or points))
    edge = max(columns, settings.crop or columns) - 1.0
    places = np.hypot(np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]) * edge / (shape[1] - 1)
    between = np.interp(places.ravel(), distances, np.arange(distances.size))
    inner = between.astype(np.intp)
    outer = np.minimum(inner + 1, distances.size - 1)
    image = np.arange(between.size)
    drawing = csr_array(
        (
            np.concatenate([1.0 - (between - inner), between - inner]),
            (np.concatenate([image, image]), np.concatenate([inner, outer])),
        ),
        shape=(between.size, distances.size),
        dtype=np.float32,
    )
    return Rings(ring, mean, averaging, drawing, shape)
