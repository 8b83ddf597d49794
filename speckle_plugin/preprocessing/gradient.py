"""From gradients by the network's input back to gradients by the raw frame.

A saliency map tells which pixels of the detector a score hangs on. The network gives the
gradient by its input only, which may be a Patterson map, where no point is a pixel.
:func:`vector_jacobian_product` carries it through :func:`speckle_plugin.preprocessing.prepare`, step by
step from the last to the first. Only :mod:`speckle_plugin.explain.saliency` uses it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.patterson import has_gaps, map_points, patterson_maps, pixel_weights
from speckle_plugin.preprocessing.prepare import frames_of, view_shape
from speckle_plugin.preprocessing.quadrants import Quadrant, quadrants
from speckle_plugin.preprocessing.radial import (
    RADIAL_OFFSET,
    moment_images,
    radial_image,
    ring_moments,
    rings_of,
)
from speckle_plugin.preprocessing.scaling import compress, log_offset_of
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["vector_jacobian_product"]

Values = NDArray[np.float64]


def vector_jacobian_product(
    gradients: ArrayLike, frames: ArrayLike, settings: Preprocessing, geometry: FrameGeometry
) -> NDArray[np.float64]:
    """Multiply gradients by the Jacobian of `prepare`, from the left: the chain rule, exactly.

    Parameters
    ----------
    gradients : array, shape (N, views, view rows, view columns)
        Derivative of a score of each frame by the network's inputs, at the inputs that
        :func:`speckle_plugin.preprocessing.prepare` makes of `frames`.
    frames : array, shape (N, rows, columns) or (rows, columns)
        Raw frames of any real dtype.
    settings : Preprocessing
    geometry : FrameGeometry

    Returns
    -------
    array, shape (N, rows, columns), float64
        Derivative of each score by each pixel of its frame. It is 0 where the network does not see a
        pixel, and where an intensity is not above 0, since such intensities count as 0.

    Raises
    ------
    ValueError
        If the frames do not have the geometry's shape, the gradients do not have that of
        the network's inputs, or no view is left.

    Notes
    -----
    `prepare` ignores the scale of a frame; so the derivatives, each times its pixel, add up to 0.
    """
    frames = np.stack(frames_of(frames, geometry))
    gradients = np.asarray(gradients, np.float64)
    expected = (len(frames), *view_shape(settings, geometry))
    if gradients.shape != expected:
        raise ValueError(
            f"expected gradients of the shape {expected}, that of the network's inputs, got {gradients.shape}"
        )
    derivatives = np.zeros((len(frames), geometry.shape[0] * geometry.shape[1]))
    for frame, views, total in zip(frames, gradients, derivatives, strict=True):
        for quadrant, gradient in zip(quadrants(geometry, settings), views, strict=True):
            total += _through_view(gradient, frame, quadrant, settings)
    return derivatives.reshape(frames.shape)


def _through_view(
    gradient: Values, frame: NDArray[np.generic], quadrant: Quadrant, settings: Preprocessing
) -> Values:
    """Give the derivative by each pixel of the flattened frame, through one view."""
    averages = quadrant.average(frame)
    pixels = np.maximum(averages, 0.0)
    if settings.intensity == "patterson":
        through = _through_patterson(gradient, pixels, quadrant, settings)
    elif settings.intensity == "log":
        shifted = pixels + log_offset_of(pixels, settings)
        through = _through_standardize(gradient[quadrant.valid], np.log(shifted)) / shifted
        if settings.log_offset * pixels.mean() > np.finfo(np.float32).tiny:  # else the offset is a constant
            through += settings.log_offset * through.mean()
    else:
        through = _through_standardize(gradient[quadrant.valid], pixels)
    through = np.where(averages > 0, through, 0.0)
    # An average's gradient goes to both of its pixels, half to each; where there is but one, it gets both.
    places, halves = (
        np.concatenate([quadrant.first, quadrant.second]),
        np.concatenate([through, through]) * 0.5,
    )
    return np.bincount(places, halves, minlength=frame.size).astype(np.float64)


def _through_standardize(gradient: Values, values: NDArray[np.float32]) -> Values:
    if not (values - values.mean()).std() > 0:  # then `prepare` gives zeros
        return np.zeros_like(gradient)
    centered = values - values.mean(dtype=np.float64)
    deviation = centered.std()
    scores = centered / deviation
    return (gradient - gradient.mean() - scores * (gradient * scores).mean()) / deviation


def _through_patterson(
    gradient: Values, pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> Values:
    (values,) = patterson_maps(pixels[None], quadrant, settings)
    by_image, gradient = gradient[len(values) :], gradient[: len(values)]
    gradient = _through_standardize(gradient, compress(values, settings))
    gradient = _through_compress(gradient, values, settings)
    whole = np.zeros(map_points(quadrant.valid.shape, settings))
    whole[: gradient.shape[0], : gradient.shape[1]] = gradient
    rows, columns = quadrant.valid.shape
    weights, rings = pixel_weights(rows, columns, settings)
    by_pixel = _through_cosines(whole)[:rows, :columns] * weights
    through: Values = by_pixel[quadrant.valid]
    if has_gaps(quadrant, settings):  # a masked pixel hangs on all unmasked ones of its ring, alike
        ring = rings[quadrant.valid]
        sums = np.bincount(rings[~quadrant.valid], by_pixel[~quadrant.valid], minlength=rings.max() + 1)
        through += (sums / np.maximum(np.bincount(ring, minlength=sums.size), 1))[ring]
    if settings.radial_rows:
        first, *others = np.split(by_image, settings.moments)
        through += _through_radial_image(first, pixels, quadrant, settings)
        if others:
            through += _through_moment_images(others, pixels, quadrant, settings)
    return through


def _through_radial_image(
    gradient: Values, pixels: NDArray[np.float32], quadrant: Quadrant, settings: Preprocessing
) -> Values:
    rings = rings_of(quadrant, settings)
    weighted = rings.averaging @ pixels
    level = weighted.mean(dtype=np.float64)
    if not level > 0:
        return np.zeros(pixels.shape)
    gradient = _through_standardize(gradient, radial_image(pixels, quadrant, settings))
    by_ratio = (rings.drawing.T @ gradient.ravel()) / (weighted / level + RADIAL_OFFSET)
    by_weighted = by_ratio / level - (by_ratio * weighted).sum() / (level**2 * weighted.size)
    through: Values = rings.averaging.T @ by_weighted
    return through


def _through_moment_images(
    gradients: Sequence[Values],
    pixels: NDArray[np.float32],
    quadrant: Quadrant,
    settings: Preprocessing,
) -> Values:
    rings = rings_of(quadrant, settings)
    images = moment_images(pixels, quadrant, settings)
    moments = ring_moments(pixels, rings, settings.moments)
    means = rings.mean @ pixels
    lit = means > 0
    mean = np.where(lit, means, 1.0)
    relative = pixels / mean[rings.ring]
    through: Values = np.zeros(pixels.shape)
    for order, (gradient, image, moment) in enumerate(zip(gradients, images, moments, strict=True), start=2):
        by_logarithm = rings.drawing.T @ _through_standardize(gradient, image).ravel()
        # log(mean(I**m)) - m log(mean(I)), by a pixel of a ring of n:
        # m (I**(m-1) / mean(I**m) - 1 / mean(I)) / n
        powers = relative ** (order - 1) / moment[rings.ring]
        weights = rings.mean.T @ np.where(lit, order * by_logarithm / mean, 0.0)
        through += weights * (powers - 1.0)
    return through


def _through_compress(gradient: Values, values: NDArray[np.float32], settings: Preprocessing) -> Values:
    if not values.std() > 0:
        return gradient
    centered = values - values.mean(dtype=np.float64)
    deviation = centered.std()
    scaled = values / (settings.softness * deviation)
    gradient = gradient / np.hypot(1.0, scaled)
    by_deviation = -(gradient * scaled).sum() / deviation
    return gradient / (settings.softness * deviation) + by_deviation * centered / (deviation * values.size)


def _through_cosines(gradient: Values) -> Values:
    """Apply the transpose of the cosine transform (DCT-I), which counts inner points twice."""
    counts = [np.full(n, 2.0) for n in gradient.shape]
    for count in counts:
        count[[0, -1]] = 1.0
    twice = np.outer(*counts)
    return dctn(gradient / twice, type=1) * twice
