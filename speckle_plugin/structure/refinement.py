"""Refinement: least squares by Levenberg and Marquardt, over disks, scale, beam centre and background.

Source: Marquardt, J. Soc. Indust. Appl. Math. 11, 431 (1963); weighted least squares of structure
amplitudes as in Giacovazzo (ed.), Fundamentals of Crystallography, chapter 5.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError, cho_factor, cho_solve

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.structure.model import Model, calculate, calculate_with_derivatives
from speckle_plugin.structure.settings import Prior
from speckle_plugin.structure.targets import Target

__all__ = ["Refinement", "blocks", "normal_matrix", "tied"]

BLOCK = 4096
"""Pixels whose derivatives are held at a time, so that they stay in the processor's cache."""


@dataclass(frozen=True)
class Refinement:
    """How to refine.

    Parameters
    ----------
    fit_center, fit_background : bool
        Whether these are free.
    prior : Prior, optional
        Of the radii.
    point_spread : float
        Standard deviation of the blur, in pixels.
    coarse : bool
        Quick form factors, for few pixels far from the answer.
    furthest : float
        Largest step of a disk's centre, in units of length.
    smallest : float
        Smallest radius.
    """

    fit_center: bool = False
    fit_background: bool = False
    prior: Prior | None = None
    point_spread: float = 0.0
    coarse: bool = False
    furthest: float = 25.0
    smallest: float = 0.2

    @property
    def equal(self) -> bool:
        """Whether all disks have one radius."""
        return self.prior is not None and self.prior.equal

    def expected(self, model: Model, target: Target) -> NDArray[np.float64]:
        """Compute what the model expects for the target's pixels."""
        return calculate(model, target.pixels, target.multiplicity, self.point_spread, self.coarse)

    def loss(self, model: Model, target: Target) -> float:
        """Compute the target's loss, and the prior's."""
        return target.loss(self.expected(model, target)) + self._prior_loss(model)

    def refine(
        self,
        model: Model,
        target: Target,
        steps: int = 15,
        tolerance: float = 1e-4,
        gain: float = 0.0,
        damping: float = 1e-3,
    ) -> tuple[Model, float]:
        """Step down from a model.

        Parameters
        ----------
        model : Model
        target : Target
        steps : int
            At most so many.
        tolerance, gain : float
            Ends when a step lowers the loss by less than this share of it, or less than `gain`.
        damping : float
            Of the first step, as a share of the normal matrix' diagonal.

        Returns
        -------
        model : Model
        loss : float
        """
        model = self._centered(model)
        loss = self.loss(model, target)
        for _ in range(steps):
            matrix, gradient = normal_matrix(model, target, self)
            matrix, gradient, free = self._reduced(matrix, gradient)
            diagonal = np.diag(matrix).copy()
            diagonal += 1e-9 * diagonal.max() + 1e-300
            for _ in range(6):
                try:
                    step = _solved(matrix + np.diag(damping * diagonal), gradient)
                except (LinAlgError, ValueError):
                    damping *= 10.0
                    continue
                moved = self._moved(model, step, free)
                new_loss = self.loss(moved, target)
                if new_loss < loss:
                    break
                damping *= 4.0
            else:
                return model, loss
            gained, model, loss = loss - new_loss, moved, new_loss
            damping = max(0.2 * damping, 1e-9)
            if gained < tolerance * loss or gained < gain:
                break
        return model, loss

    def _prior_loss(self, model: Model) -> float:
        if self.prior is None or self.prior.mean is None or self.prior.deviation is None:
            return 0.0
        return float((((model.radii - self.prior.mean) / self.prior.deviation) ** 2).sum())

    def _centered(self, model: Model) -> Model:
        """Give the model about the origin: a frame does not tell shifts, but their size costs digits."""
        shifted = model.positions - model.positions.mean(axis=0)
        radii = model.radii
        if self.equal:
            radii = np.full(model.number, np.sqrt((radii**2).mean()))
        return model.with_disks(shifted, radii)

    def free(self, n: int) -> NDArray[np.bool_]:
        """Which parameters of n disks are fitted, shape (3 n + 4,)."""
        free = np.ones(3 * n + 4, bool)
        free[3 * n + 1 : 3 * n + 3] = self.fit_center
        free[3 * n + 3] = self.fit_background
        return free

    def _reduced(
        self, matrix: NDArray[np.float64], gradient: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Give the normal equations of those parameters that are fitted, and which these are."""
        n = (len(matrix) - 4) // 3
        free = self.free(n)
        if self.equal:
            matrix, gradient = tied(matrix, n), gradient.copy()
            gradient[2 * n] = gradient[2 * n : 3 * n].sum()
            free[2 * n + 1 : 3 * n] = False
        return matrix[np.ix_(free, free)], gradient[free], free

    def _moved(self, model: Model, part: NDArray[np.float64], free: NDArray[np.bool_]) -> Model:
        n = model.number
        step = np.zeros(len(free))
        step[free] = part
        shift = np.clip(step[: 2 * n].reshape(2, n).T, -self.furthest, self.furthest)
        growth = np.clip(step[2 * n : 3 * n], -0.3 * model.radii, 0.3 * model.radii + 1.0)
        if self.equal:
            growth = np.full(n, growth[0])
        center = np.clip(step[3 * n + 1 : 3 * n + 3], -0.2, 0.2)
        return Model(
            model.positions + shift,
            np.maximum(model.radii + growth, self.smallest),
            model.log_scale + float(np.clip(step[3 * n], -0.3, 0.3)),
            (model.center[0] + float(center[0]), model.center[1] + float(center[1])),
            max(model.background + float(step[3 * n + 3]), 0.0) if self.fit_background else model.background,
        )


def _solved(matrix: NDArray[np.float64], gradient: NDArray[np.float64]) -> NDArray[np.float64]:
    with one_blas_thread():
        factor = cho_factor(matrix, check_finite=False)
        return np.asarray(cho_solve(factor, gradient, check_finite=False))


def tied(matrix: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Give a normal matrix of n disks with one radius for all, in the place of the first."""
    matrix, radii = matrix.copy(), slice(2 * n, 3 * n)
    matrix[2 * n] = matrix[radii].sum(axis=0)
    matrix[:, 2 * n] = matrix[:, radii].sum(axis=1)
    return matrix


def blocks(
    model: Model, target: Target, refinement: Refinement
) -> Iterator[
    tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], NDArray[np.float64], slice]
]:
    """Give for some pixels at a time expected values, derivatives, residuals, weights, and which they are.

    See :func:`speckle_plugin.structure.model.calculate_with_derivatives` and
    :class:`speckle_plugin.structure.targets.Target`.
    """
    count = len(target.values)
    block = count if refinement.point_spread > 0 else BLOCK
    for start in range(0, count, block):
        which = slice(start, start + block)
        expected, derivatives = calculate_with_derivatives(
            model,
            target.pixels.part(which),
            target.multiplicity[which],
            refinement.point_spread,
            refinement.coarse,
            refinement.fit_center,
        )
        yield expected, derivatives, *target.linearized(expected, which), which


def normal_matrix(
    model: Model, target: Target, refinement: Refinement
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the matrix of the normal equations and the downward gradient, prior included.

    Of the noise's own target (counts, normal) the matrix is the Fisher information. Rows and columns of the
    beam centre are 0 unless it is fitted.

    Returns
    -------
    matrix : array, shape (3 n + 4, 3 n + 4)
        Columns as in :func:`speckle_plugin.structure.model.calculate_with_derivatives`.
    gradient : array, shape (3 n + 4,)
    """
    n = model.number
    size = 3 * n + 4
    matrix, gradient = np.zeros((size, size)), np.zeros(size)
    for _, derivatives, residuals, weights, _ in blocks(model, target, refinement):
        derivatives *= weights[:, None]
        with one_blas_thread():
            matrix += derivatives.T @ derivatives
            gradient += derivatives.T @ residuals
    prior = refinement.prior
    if prior is not None and prior.mean is not None and prior.deviation is not None:
        radii = np.arange(2 * n, 3 * n)
        matrix[radii, radii] += 1.0 / prior.deviation**2
        gradient[2 * n : 3 * n] -= (model.radii - prior.mean) / prior.deviation**2
    return matrix, gradient
