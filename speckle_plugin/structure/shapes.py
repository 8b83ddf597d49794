"""Are they disks? What the frame would gain if they were of other shapes, and whether chance gives that.

The deviance of all pixels does not see objects that are nearly disks: what they add is little at each pixel,
and pixels are many. A score test looks only where other shapes show. Two squares with 10^5 photons pass the
former by 0.7 standard deviations, and fail here by eleven.

Source: Rao, Proc. Camb. Phil. Soc. 44, 50 (1948); where the size of the noise is not known, White,
Econometrica 48, 817 (1980).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.structure.model import Model, calculate_by_shape
from speckle_plugin.structure.refinement import Refinement, blocks
from speckle_plugin.structure.targets import Counts, Normal, z_of_chi_squared

__all__ = ["shapes_z_score"]

BRIGHT = 10.0
"""Counts of a pixel from which rounding is as good as chance."""

SINGULAR = 1e-6
"""Directions that the pixels do not tell have less information than this, as a part of the most."""

Array = NDArray[np.float64]


def shapes_z_score(
    model: Model, target: Counts | Normal, refinement: Refinement, less_noise: bool = False
) -> float:
    """Give how much deformed disks would gain, in standard deviations of what they gain by chance.

    Parameters
    ----------
    model : Model
        Refined.
    target : Counts or Normal
        With all pixels.
    refinement : Refinement
        By which it was.
    less_noise : bool
        Whether the pixels have less noise than the target says, as those of a mean of frames, or of counts
        that are rounded intensities. It is then taken from the residuals, of :data:`BRIGHT` pixels: what is
        less than half a count is always rounded to 0.

    Returns
    -------
    float
        Chi squared of all deformations (:func:`speckle_plugin.scattering.derivatives_by_shape`) as a normal
        variable.
    """
    information, score, spread = _sums(model, target, refinement, less_noise)
    size = np.sqrt(np.maximum(np.diag(information), 1e-300))
    information, spread = information / np.outer(size, size), spread / np.outer(size, size)
    parameters = 3 * model.number + 4
    fitted = np.flatnonzero(refinement.free(model.number))
    shapes = np.arange(parameters, len(size))
    # What the fit has taken of the deformations already, by the parameters that resemble them.
    resembling = information[np.ix_(fitted, fitted)] + 1e-9 * np.eye(len(fitted))
    taken = np.zeros((len(shapes), len(size)))
    taken[:, fitted] = -np.linalg.solve(resembling, information[np.ix_(fitted, shapes)]).T
    taken[:, shapes] = np.eye(len(shapes))
    with one_blas_thread():
        slope, variance = taken @ (score / size), taken @ spread @ taken.T
    values, directions = np.linalg.eigh(variance)
    told = values > SINGULAR * values.max()
    gains = (directions.T @ slope)[told] ** 2 / values[told]
    return z_of_chi_squared(float(gains.sum()), int(told.sum()))


def _sums(
    model: Model, target: Counts | Normal, refinement: Refinement, less_noise: bool
) -> tuple[Array, Array, Array]:
    """Sum up information, score, and the variance of the score: the information, or by the residuals.

    Columns are those of :func:`speckle_plugin.structure.model.calculate_with_derivatives`, then those of
    :func:`speckle_plugin.structure.model.calculate_by_shape`.
    """
    sums: tuple[Array, ...] = ()
    for expected, of_disks, residuals, weights, which in blocks(model, target, refinement):
        pixels, multiplicity = target.pixels.part(which), target.multiplicity[which]
        by_shape = calculate_by_shape(model, pixels, multiplicity, refinement.point_spread)
        slopes = np.hstack([of_disks, by_shape])
        if less_noise:
            weights = np.where(expected >= BRIGHT * multiplicity, weights, 0.0)
        slopes *= weights[:, None]
        scores = slopes * residuals[:, None]
        with one_blas_thread():
            information = slopes.T @ slopes
            variance = scores.T @ scores if less_noise else information
        part = information, scores.sum(axis=0), variance
        sums = tuple(s + p for s, p in zip(sums, part, strict=True)) if sums else part
    return sums[0], sums[1], sums[2]
