"""From a model at low resolution to the answer: all pixels, the noise's own measure, the right number."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.refinement import Refinement, normal_matrix
from speckle_plugin.structure.selection import WORTH, Selection
from speckle_plugin.structure.start import Start
from speckle_plugin.structure.targets import Amplitudes, Counts, Normal

__all__ = ["Found", "Sample", "explained_at_start", "finish"]

Likely = Amplitudes | Counts | Normal

FIT_PIXELS = 4000
LAST_PIXELS = 8000
CENTER_STEPS = 60
"""A beam centre moves by a fifth of a pixel in a step at most, and may be told wrong by some pixels."""

EXACT = 1e-6
"""A residual below which nothing is missing."""

IMPATIENT_Z = 15.0
"""Deviance beyond that of the noise, in standard deviations, at which the impatient give a start up."""


@dataclass(frozen=True)
class Sample:
    """What was learnt of the sample before its disks.

    Parameters
    ----------
    radius, extent : float
        Effective radius of the disks; extent of the sample.
    most_disks : int
    stop : callable
        Whether there is no time left.
    """

    radius: float
    extent: float
    most_disks: int
    stop: Callable[[], bool]

    def selection(self, observation: Observation, target: Likely, refinement: Refinement) -> Selection:
        """Give the selection of this sample's disks."""
        known = (self.radius, self.extent, self.most_disks, self.stop)
        return Selection(observation, target, refinement, *known)


@dataclass(frozen=True, eq=False)
class Found:
    """A model of all pixels.

    Parameters
    ----------
    model : Model
    selection : Selection
        With the target and the refinement that it was found by.
    residual : float
        Of the amplitudes of all pixels.
    z_score, rings_z_score : float
        Of the deviance of all pixels, and of the sums over rings; NaN where the noise is not known, 0 for
        rings where it is not that of photons.
    weakest, remaining : float
        What the least significant disk gains, and what the best further one would.
    notes : tuple of str
        How it came about.
    """

    model: Model
    selection: Selection
    residual: float
    z_score: float
    rings_z_score: float
    weakest: float
    remaining: float
    notes: tuple[str, ...]


def explained_at_start(
    start: Start, observation: Observation, refinement: Refinement, sample: Sample
) -> tuple[Model, float]:
    """Refine a start with the noise's own measure at its resolution, and give the z score there."""
    target = observation.likelihood(start.resolution, merge=not refinement.fit_center)
    selection = sample.selection(observation, target, refinement)
    model, loss = selection.fit(start.model, 6)
    model, _ = selection.drop_insignificant(model, loss, 10.0)
    return model, target.z_score(refinement.expected(model, target))


def finish(
    model: Model,
    resolution: float,
    observation: Observation,
    refinement: Refinement,
    allowed: Refinement,
    sample: Sample,
    promising: bool,
    patient: bool = True,
) -> Found:
    """March to all pixels, then settle the number of disks.

    Parameters
    ----------
    model : Model
        Right at low resolution, but for what does not show there.
    resolution : float
        Largest |k| that it was fitted to.
    observation : Observation
    refinement, allowed : Refinement
        What is fitted from the first, and what may be where the frame asks for it.
    sample : Sample
    promising : bool
        Whether the model explains the frame at low resolution. If not, it is only fitted.
    patient : bool
        Whether to go on where more pixels show that it does not. Where no disks are missing but beam centre
        or background are wrong, that is right; through a point spread it takes many seconds.
    """
    k_most = float(observation.k[observation.known].max())
    notes: list[str] = []
    rng = np.random.default_rng(0)

    def target_at(k: float, most: int, refinement: Refinement) -> Likely:
        if observation.noise == "none":
            return observation.amplitudes(k, most, rng, merge=not refinement.fit_center)
        return observation.likelihood(k, merge=not refinement.fit_center)

    def selection_at(k: float, most: int) -> Selection:
        target = target_at(k, most, refinement)
        return sample.selection(observation, target, refinement)

    def wrong(selection: Selection, model: Model) -> bool:
        return not patient and _z_scores(selection, model)[0] > IMPATIENT_Z

    for factor in (1.5, 2.2, 3.2):
        if factor * resolution < 0.8 * k_most and (promising or patient):
            selection = selection_at(factor * resolution, FIT_PIXELS)
            model, _ = selection.fit(model, 8, 1.0)
            promising = promising and not wrong(selection, model)
    selection = selection_at(k_most, LAST_PIXELS)
    model, loss = selection.fit(model, 12 if promising or patient else 1)
    promising = promising and not wrong(selection, model)
    if promising and not patient:
        model, loss = selection.drop_insignificant(model, loss, 12.0)
    if promising and not _exact(selection.target, loss):
        refinement, why = _with_nuisances(model, selection, observation, allowed)
        if why:
            notes.append(why)
            selection = selection_at(k_most, LAST_PIXELS)
            model, loss = selection.fit(model, CENTER_STEPS if refinement.fit_center else 15)
    if not promising:
        weakest, remaining = math.nan, math.nan
    elif isinstance(selection.target, Amplitudes):
        weakest, remaining = math.inf, 0.0
        if not _exact(selection.target, loss):
            model, loss, weakest, remaining = selection.settle(model, loss)
        else:
            model, loss, weakest = selection.take_away(model, loss)
    else:
        model, loss = selection.drop_insignificant(model, loss, 12.0)
        model, loss, weakest, remaining = selection.settle(model, loss)
    z_score, rings = _z_scores(selection, model)
    residual = _residual(model, observation, refinement)
    notes.append(f"all pixels: {model.number} disks, residual {residual:.2g}, z {z_score:.1f}")
    return Found(model, selection, residual, z_score, rings, weakest, remaining, tuple(notes))


def _exact(target: Likely, loss: float) -> bool:
    return isinstance(target, Amplitudes) and target.residual(loss) < EXACT


def _z_scores(selection: Selection, model: Model) -> tuple[float, float]:
    """Of the deviance and of the sums over rings, see :class:`Found`."""
    target = selection.target
    if not isinstance(target, Counts | Normal):
        return math.nan, math.nan
    expected = selection.refinement.expected(model, target)
    return target.z_score(expected), target.rings_z_score(expected) if isinstance(target, Counts) else 0.0


def _residual(model: Model, observation: Observation, refinement: Refinement) -> float:
    """Of all pixels' amplitudes."""
    every = observation.amplitudes(math.inf, observation.values.size, np.random.default_rng(0), merge=False)
    return every.residual(every.loss(refinement.expected(model, every)))


def _with_nuisances(
    model: Model, selection: Selection, observation: Observation, allowed: Refinement
) -> tuple[Refinement, str]:
    """Free the beam centre and the background if the frame asks for it: a score test, then a fit.

    Friedel mates say together nothing of the centre, so that every pixel counts for itself here.
    """
    refinement, n = selection.refinement, model.number
    rng = np.random.default_rng(0)
    target: Likely
    if observation.noise == "none":
        target = observation.amplitudes(math.inf, LAST_PIXELS, rng, merge=False)
    else:
        target = observation.likelihood(math.inf, merge=False)
    loss = refinement.loss(model, target)
    matrix, gradient = normal_matrix(model, target, replace(refinement, fit_center=allowed.fit_center))
    asked: dict[str, Any] = {}
    for name, columns in (("fit_center", (3 * n + 1, 3 * n + 2)), ("fit_background", (3 * n + 3,))):
        if getattr(allowed, name) and not getattr(refinement, name):
            gain = _score_gain(matrix, gradient, refinement.free(n), columns)
            asked[name] = gain > (0.05 * loss if observation.noise == "none" else WORTH / 2.0)
    if not any(asked.values()):
        return refinement, ""
    freed = replace(refinement, **asked)
    _, better = freed.refine(model, target, 10)
    if observation.noise == "none":
        worth_it = better < 0.5 * loss
    else:
        worth_it = loss - better > WORTH / 2.0
    if not worth_it:
        return refinement, ""
    names = [name.removeprefix("fit_") for name, yes in asked.items() if yes]
    return freed, f"{' and '.join(names)} fitted: loss {loss:.3g} -> {better:.3g}"


def _score_gain(
    matrix: NDArray[np.float64],
    gradient: NDArray[np.float64],
    free: NDArray[np.bool_],
    columns: tuple[int, ...],
) -> float:
    """Give what freeing further parameters would lower the loss by, to second order."""
    more = free.copy()
    more[list(columns)] = True

    def reach(which: NDArray[np.bool_]) -> float:
        part, slope = matrix[np.ix_(which, which)], gradient[which]
        size = np.sqrt(np.maximum(np.diag(part), 1e-300))
        scaled = part / np.outer(size, size) + 1e-9 * np.eye(len(size))
        return float(slope / size @ np.linalg.solve(scaled, slope / size))

    return reach(more) - reach(free)
