"""How much a frame tells: standard errors, and whether the smallest disk can be seen at all.

Source: the Fisher matrix and the bound of Cramer and Rao (Kay, Fundamentals of Statistical Signal
Processing, 1993, chapter 3).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.scattering import PixelGrid, Pixels
from speckle_plugin.structure.finish import Found
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.refinement import Refinement, normal_matrix, tied
from speckle_plugin.structure.selection import covariance, significances
from speckle_plugin.structure.targets import Amplitudes, Counts

__all__ = ["expected_gains", "standard_errors"]


def standard_errors(found: Found, observation: Observation) -> NDArray[np.float64]:
    """Give standard errors of x, y and r of each disk, shape (n, 3); positions relative to their mean.

    Where the noise is not known, it is what the residual leaves.
    """
    n = found.model.number
    target, refinement = found.selection.target, found.selection.refinement
    matrix, _ = normal_matrix(found.model, target, refinement)
    if isinstance(target, Amplitudes):
        variance = refinement.loss(found.model, target) / max(len(target.values) - 3 * n, 1)
        matrix = matrix / max(variance, 1e-300)
        matrix = matrix * (observation.known.sum() / target.multiplicity.sum())
    free = refinement.free(n)
    if refinement.equal:
        matrix = tied(matrix, n)
        free[2 * n + 1 : 3 * n] = False
    variances = np.diag(covariance(matrix, free)).copy()
    if refinement.equal:
        variances[2 * n : 3 * n] = variances[2 * n]
    return np.sqrt(np.maximum(variances[: 3 * n].reshape(3, n).T, 0.0))


def expected_gains(
    positions: NDArray[np.float64],
    radii: NDArray[np.float64],
    grid: PixelGrid,
    known: NDArray[np.bool_],
    photons: float,
    frame_total: float,
) -> NDArray[np.float64]:
    """Give what each disk is expected to gain in a frame of so many photons, all parameters free.

    A frame is decidable where the least of these is large enough
    (:data:`speckle_plugin.structure.selection.WORTH`).

    Parameters
    ----------
    positions : array, shape (n, 2)
    radii : array, shape (n,)
    grid : PixelGrid
    known : array of bool, shape `grid.shape`
        Pixels that are not masked.
    photons : float
        In the whole frame.
    frame_total : float
        Sum of the intensities of the whole frame, masked pixels included.

    Returns
    -------
    array, shape (n,)
    """
    rows, columns = np.nonzero(known)
    pixels = Pixels(rows, columns, grid.pitch, grid.beam_center)
    model = Model(
        positions - positions.mean(axis=0), radii, math.log(photons / frame_total), grid.beam_center
    )
    target = Counts(pixels, np.zeros(len(rows)), np.ones(len(rows)))
    refinement = Refinement()
    matrix, _ = normal_matrix(model, target, refinement)
    n = len(radii)
    free = refinement.free(n)
    return significances(np.diag(covariance(matrix, free))[2 * n : 3 * n], radii)
