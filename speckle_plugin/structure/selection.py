"""How many disks: one is added where that gains enough likelihood, and taken away where it costs little.

The gain is twice the logarithm of the likelihood ratio. Where the noise is not known it is estimated from
the residual itself, so that a gain is the number of pixels times the logarithm of the ratio of losses.

Source: Wilks, Ann. Math. Stat. 9, 60 (1938); Wald, Trans. Am. Math. Soc. 54, 426 (1943).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import LinAlgError

from speckle_plugin.structure.difference import best_further_disks
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.refinement import Refinement, normal_matrix
from speckle_plugin.structure.targets import Amplitudes, Counts, Normal

__all__ = ["WORTH", "Selection", "covariance", "significances"]

WORTH = 36.0
"""A disk is kept that gains more; 25 lets false ones in."""

WORTH_OF_RESIDUAL = 2.0
"""Where the noise is not known, a disk must also divide the loss by this: other things may be missing."""

HOPELESS_Z, HOPELESS_RESIDUAL = 60.0, 0.15
"""Of all pixels, after three disks were added or taken away; then the start was wrong."""

TRIAL_RADII = (0.02, 0.1, 0.25, 0.45)
"""Radii of further disks that are tried, over the effective one. The least stands for all that are
smaller: up to the largest k of a frame they scatter like points."""

SMALLEST_START = 0.003
"""Radius from which a further disk is refined at least, over the effective one."""


def covariance(matrix: NDArray[np.float64], free: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Invert a Fisher matrix, without the directions that a frame does not tell (shifts of all disks).

    Parameters
    ----------
    matrix : array, shape (p, p)
        Columns of x, y, r of n disks, logarithm of the scale, centre, background.
    free : array of bool, shape (p,)
        Parameters that are fitted; the others have no variance.

    Returns
    -------
    array, shape (p, p)
        Infinite variances where it cannot be inverted.
    """
    p = len(matrix)
    n = (p - 4) // 3
    size = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix / np.outer(size, size)
    for axis in (0, 1):  # a shift of all disks costs nothing: fix their mean
        shift = np.zeros(p)
        shift[axis * n : (axis + 1) * n] = size[axis * n : (axis + 1) * n]
        shift /= np.linalg.norm(shift)
        scaled = scaled + np.outer(shift, shift)
    result = np.zeros((p, p))
    try:
        inverse = np.linalg.inv(scaled[np.ix_(free, free)] + 1e-13 * np.eye(int(free.sum())))
    except LinAlgError:
        inverse = np.diag(np.full(int(free.sum()), np.inf))
    result[np.ix_(free, free)] = inverse / np.outer(size[free], size[free])
    center = np.eye(p)
    for axis in (0, 1):  # positions relative to their mean
        center[axis * n : (axis + 1) * n, axis * n : (axis + 1) * n] -= 1.0 / n
    return center @ result @ center.T


def significances(variances: NDArray[np.float64], radii: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give what the likelihood ratio is expected to lose by taking out each disk: (area / its error)^2."""
    return np.asarray((radii / 2.0) ** 2 / np.maximum(variances, 1e-300))


def overlap_of_last(model: Model) -> float:
    """Give the largest overlap of the last disk with another, as a share of its radius."""
    distance = np.hypot(*(model.positions[:-1] - model.positions[-1]).T)
    return float(((model.radii[:-1] + model.radii[-1] - distance) / model.radii[-1]).max())


@dataclass(frozen=True, eq=False)
class Selection:
    """Adds and takes away disks of a frame.

    Parameters
    ----------
    observation : Observation
    target : Target
    refinement : Refinement
    radius, extent : float
        Effective radius; extent of the sample.
    most_disks : int
    stop : callable
        Whether there is no time left.
    """

    observation: Observation
    target: Amplitudes | Counts | Normal
    refinement: Refinement
    radius: float
    extent: float
    most_disks: int
    stop: Callable[[], bool]

    def gain(self, before: float, after: float) -> float:
        """Give twice the logarithm of a likelihood ratio from two losses."""
        if isinstance(self.target, Amplitudes):
            return len(self.target.values) * math.log(max(before, 1e-300) / max(after, 1e-300))
        return before - after

    @property
    def worth(self) -> float:
        """What a disk must gain."""
        if isinstance(self.target, Amplitudes):
            return max(WORTH, len(self.target.values) * math.log(WORTH_OF_RESIDUAL))
        return WORTH

    @property
    def negligible(self) -> float:
        """Gain of a step at which a refinement ends."""
        return 0.0 if isinstance(self.target, Amplitudes) else 0.05

    def fit(self, model: Model, steps: int, gain: float | None = None) -> tuple[Model, float]:
        """Refine."""
        tolerance = 1e-3 if isinstance(self.target, Amplitudes) else 0.0
        return self.refinement.refine(
            model, self.target, steps, tolerance, self.negligible if gain is None else gain
        )

    def significances(self, model: Model) -> NDArray[np.float64]:
        """Give what each disk is expected to be worth, by the Fisher matrix, shape (n,)."""
        n = model.number
        matrix, _ = normal_matrix(model, self.target, self.refinement)
        variances = np.diag(covariance(matrix, self.refinement.free(n)))[2 * n : 3 * n]
        return significances(variances, model.radii)

    def drop_insignificant(self, model: Model, loss: float, least: float) -> tuple[Model, float]:
        """Take out disks that the frame hardly shows, half of them at a time."""
        for _ in range(6):
            worth = self.significances(model)
            weak = np.flatnonzero(worth < least)
            if not len(weak) or model.number - len(weak) < 1:
                break
            weakest = weak[np.argsort(worth[weak])][: max(1, len(weak) // 2)]
            model, loss = self.fit(model.without(weakest), 5, 0.5)
        return model, loss

    def candidates(self, model: Model) -> list[tuple[float, NDArray[np.float64]]]:
        """Give disks that could be added, with their expected gains."""
        radii = tuple(part * self.radius for part in TRIAL_RADII)
        found = best_further_disks(self.observation, model, radii, self.extent, self.refinement.point_spread)
        least, largest = SMALLEST_START * self.radius, 0.6 * self.radius
        return [(c.gain, np.array([[c.x, c.y, min(max(c.r, least), largest)]])) for c in found]

    def add(self, model: Model, loss: float) -> tuple[Model, float, float]:
        """Add the best further disk if it is worth it.

        Returns
        -------
        model, loss
        gain : float
            Of the best disk tried, or expected of the best not tried.
        """
        best: tuple[float, Model] | None = None
        expected = 0.0
        for score, disk in self.candidates(model)[:3]:
            expected = max(expected, score)
            if not isinstance(self.target, Amplitudes) and score < 0.8 * WORTH:
                continue
            if model.number >= self.most_disks:
                break
            trial, its_loss = self.fit(model.and_disks(disk), 4, 1.0)
            if overlap_of_last(trial) > 0.5:  # it mends another disk's edge
                continue
            if best is None or its_loss < best[0]:
                best = (its_loss, trial)
            if self.gain(loss, its_loss) > 3.0 * self.worth:
                break
        if best is None:
            return model, loss, expected
        trial, its_loss = best[1], best[0]
        if self.gain(loss, its_loss) > 0.4 * self.worth:
            trial, its_loss = self.fit(trial, 10)
        gained = self.gain(loss, its_loss)
        if gained > self.worth:
            return trial, its_loss, gained
        return model, loss, gained

    def take_away(self, model: Model, loss: float) -> tuple[Model, float, float]:
        """Take away the least significant disk if that costs little.

        Returns
        -------
        model, loss
        cost : float
            Of the cheapest disk.
        """
        if model.number < 2:
            return model, loss, math.inf
        worth = self.significances(model)
        cheapest = math.inf
        for disk in np.argsort(worth)[:2]:
            if worth[disk] > 2.0 * WORTH and not isinstance(self.target, Amplitudes):
                cheapest = min(cheapest, float(worth[disk]))
                continue
            trial, its_loss = self.fit(model.without(int(disk)), 6)
            cost = self.gain(its_loss, loss)
            if cost < self.worth:
                return trial, its_loss, cost
            cheapest = min(cheapest, cost)
        return model, loss, cheapest

    def _hopeless(self, model: Model, loss: float) -> bool:
        """Say whether a few disks more will not do."""
        if isinstance(self.target, Amplitudes):
            return self.target.residual(loss) > HOPELESS_RESIDUAL
        return self.target.z_score(self.refinement.expected(model, self.target)) > HOPELESS_Z

    def settle(self, model: Model, loss: float, rounds: int = 8) -> tuple[Model, float, float, float]:
        """Add and take away disks until neither changes anything.

        Returns
        -------
        model, loss
        weakest : float
            What the least significant disk gains.
        remaining : float
            What the best further disk would gain.
        """
        weakest, remaining = math.inf, math.inf
        for turn in range(rounds):
            if turn >= 3 and self._hopeless(model, loss):
                break
            number = model.number
            model, loss, remaining = self.add(model, loss)
            if model.number > number and not self.stop():
                continue
            model, loss, weakest = self.take_away(model, loss)
            if model.number == number or self.stop():
                break
        return model, loss, weakest, remaining
