"""From gradients by the network's input back to gradients by the raw frame.

A saliency map tells which pixels of the detector a score hangs on. The network gives the
gradient by its input only, which may be a Patterson map, where no point is a pixel.
:func:`pull_back` carries it through :func:`speckle_plugin.preprocessing.prepare`, step by
step from the last to the first. Only :mod:`speckle_plugin.explain.saliency` uses it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn

from speckle_plugin.preprocessing.prepare import (
    RADIAL_OFFSET,
    FrameGeometry,
    Preprocessing,
    _compress,
    _each,
    _Fold,
    _folds,
    _has_gaps,
    _map_points,
    _offset,
    _patterson_maps,
    _pixel_weights,
    _radial_image,
    _rings,
    view_shape,
)

__all__ = ["pull_back"]

Values = NDArray[np.float64]


def pull_back(
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
    frames = np.stack(_each(frames, geometry))
    gradients = np.asarray(gradients, np.float64)
    expected = (len(frames), *view_shape(settings, geometry))
    if gradients.shape != expected:
        raise ValueError(
            f"expected gradients of the shape {expected}, that of the network's inputs, got {gradients.shape}"
        )
    pulled = np.zeros((len(frames), geometry.shape[0] * geometry.shape[1]))
    for frame, views, total in zip(frames, gradients, pulled, strict=True):
        for fold, gradient in zip(_folds(geometry, settings), views, strict=True):
            total += _through_view(gradient, frame, fold, settings)
    return pulled.reshape(frames.shape)


def _through_view(
    gradient: Values, frame: NDArray[np.generic], fold: _Fold, settings: Preprocessing
) -> Values:
    """Give the derivative by each pixel of the flattened frame, through one view."""
    averages = fold.average(frame)
    pixels = np.maximum(averages, 0.0)
    if settings.intensity == "patterson":
        through = _through_patterson(gradient, pixels, fold, settings)
    elif settings.intensity == "log":
        shifted = pixels + _offset(pixels, settings)
        through = _through_standardize(gradient[fold.valid], np.log(shifted)) / shifted
        if settings.log_offset * pixels.mean() > np.finfo(np.float32).tiny:  # else the offset is a constant
            through += settings.log_offset * through.mean()
    else:
        through = _through_standardize(gradient[fold.valid], pixels)
    through = np.where(averages > 0, through, 0.0)
    # An average's gradient goes to both of its pixels, half to each; where there is but one, it gets both.
    places, halves = np.concatenate([fold.first, fold.second]), np.concatenate([through, through]) * 0.5
    return np.bincount(places, halves, minlength=frame.size).astype(np.float64)


def _through_standardize(gradient: Values, values: NDArray[np.float32]) -> Values:
    if not (values - values.mean()).std() > 0:  # then `prepare` gives zeros
        return np.zeros_like(gradient)
    centered = values - values.mean(dtype=np.float64)
    deviation = centered.std()
    scores = centered / deviation
    return (gradient - gradient.mean() - scores * (gradient * scores).mean()) / deviation


def _through_patterson(
    gradient: Values, pixels: NDArray[np.float32], fold: _Fold, settings: Preprocessing
) -> Values:
    (values,) = _patterson_maps(pixels[None], fold, settings)
    by_image, gradient = gradient[len(values) :], gradient[: len(values)]
    gradient = _through_standardize(gradient, _compress(values, settings))
    gradient = _through_compress(gradient, values, settings)
    whole = np.zeros(_map_points(fold.valid.shape, settings))
    whole[: gradient.shape[0], : gradient.shape[1]] = gradient
    rows, columns = fold.valid.shape
    weights, rings = _pixel_weights(rows, columns, settings)
    by_pixel = _through_cosines(whole)[:rows, :columns] * weights
    through: Values = by_pixel[fold.valid]
    if _has_gaps(fold, settings):  # a masked pixel hangs on all unmasked ones of its ring, alike
        ring = rings[fold.valid]
        sums = np.bincount(rings[~fold.valid], by_pixel[~fold.valid], minlength=rings.max() + 1)
        through += (sums / np.maximum(np.bincount(ring, minlength=sums.size), 1))[ring]
    if settings.radial_rows:
        through += _through_radial_image(by_image, pixels, fold, settings)
    return through


def _through_radial_image(
    gradient: Values, pixels: NDArray[np.float32], fold: _Fold, settings: Preprocessing
) -> Values:
    rings = _rings(fold, settings)
    weighted = rings.averaging @ pixels
    level = weighted.mean(dtype=np.float64)
    if not level > 0:
        return np.zeros(pixels.shape)
    gradient = _through_standardize(gradient, _radial_image(pixels, fold, settings))
    by_ratio = (rings.drawing.T @ gradient.ravel()) / (weighted / level + RADIAL_OFFSET)
    by_weighted = by_ratio / level - (by_ratio * weighted).sum() / (level**2 * weighted.size)
    through: Values = rings.averaging.T @ by_weighted
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
