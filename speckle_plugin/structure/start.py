"""One start: phases at low resolution, their peaks as disks, and disks moved, added, split and taken away."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.structure.difference import difference_peaks
from speckle_plugin.structure.flipping import flip_charges
from speckle_plugin.structure.lattice import Lattice, lattice_of
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.patterson import complete, normalize, restore
from speckle_plugin.structure.peaks import disks_from_density
from speckle_plugin.structure.refinement import Refinement
from speckle_plugin.structure.targets import Amplitudes

__all__ = ["Candidate", "Recipe", "Start", "densities", "difference_lattice", "polish", "scaled", "tidied"]


@dataclass(frozen=True)
class Recipe:
    """What a start is made with.

    Parameters
    ----------
    resolution : float
        Largest |k|.
    stride : int
        Pixels between points of the lattice.
    radius, extent : float
        Effective radius of the disks; extent of the sample.
    common : float, optional
        The radius of all disks, if they are taken for equal.
    threshold : float
        Of charge flipping, in standard deviations of the density.
    rounds, batch : int
        Of charge flipping.
    restoring : int
        Rounds of undoing a point spread.
    stop : callable
        Whether there is no time left.
    """

    resolution: float
    stride: int
    radius: float
    extent: float
    common: float | None
    threshold: float
    rounds: int
    batch: int
    restoring: int = 300
    stop: Callable[[], bool] = lambda: False


@dataclass(frozen=True, eq=False)
class Candidate:
    """Disks of one density, roughly.

    Parameters
    ----------
    number : int
        Of the start.
    model : Model
    residual, floor : float
        Of the amplitudes of a few pixels; what the noise alone would leave.
    observation, recipe, refinement
        What it was made with.
    """

    number: int
    model: Model
    residual: float
    floor: float
    observation: Observation
    recipe: Recipe
    refinement: Refinement

    @property
    def excess(self) -> float:
        """How much of the residual is not noise."""
        return beyond(self.residual, self.floor)


@dataclass(frozen=True, eq=False)
class Start:
    """A model at low resolution.

    Parameters
    ----------
    model : Model
    residual, floor : float
        Of the amplitudes; what the noise alone would leave.
    resolution : float
    """

    model: Model
    residual: float
    floor: float
    resolution: float

    @property
    def excess(self) -> float:
        """How much of the residual is not noise."""
        return beyond(self.residual, self.floor)


def beyond(residual: float, floor: float) -> float:
    """Give how much of a residual is not noise."""
    return math.sqrt(max(residual**2 - floor**2, 0.0))


def densities(
    observation: Observation, recipe: Recipe, point_spread: float, rng: np.random.Generator
) -> list[NDArray[np.float64]]:
    """Solve the phases from random starts, and give the disks that each shows, rows of (x, y, r)."""
    lattice = lattice_of(observation, recipe.resolution, recipe.stride)
    lattice, _ = normalize(lattice, observation, 1.0, recipe.common)
    if point_spread > 0:
        full = restore(lattice, recipe.restoring, point_spread * observation.k_step)
    else:
        full = complete(lattice, 300 if lattice.known.sum() < 0.7 * lattice.inside.sum() else 100)
    density, _ = flip_charges(
        np.sqrt(full.intensity),
        full.known,
        full.inside,
        rng,
        recipe.rounds,
        recipe.batch,
        recipe.threshold,
        recipe.stop,
    )
    threshold = 0.12 if recipe.common is None else 0.35
    each = []
    for one in density:
        disks = disks_from_density(one, full.spacing, recipe.radius, recipe.extent, threshold, 26)
        if recipe.common is not None:
            disks[:, 2] = recipe.common
        each.append(disks)
    return each


def difference_lattice(
    observation: Observation, resolution: float, stride: int
) -> tuple[Lattice, NDArray[np.float64]]:
    """Give the amplitudes of a difference synthesis, with their weights."""
    return normalize(lattice_of(observation, resolution, stride), observation, 0.7)


def scaled(model: Model, target: Amplitudes, refinement: Refinement) -> Model:
    """Give a model the scale that fits best."""
    unit = Model(model.positions, model.radii, 0.0, model.center)
    amplitudes = target.weights * np.sqrt(refinement.expected(unit, target))
    ratio = float(target.weighted @ amplitudes) / max(float(amplitudes @ amplitudes), 1e-300)
    return Model(
        model.positions, model.radii, 2.0 * math.log(max(ratio, 1e-150)), model.center, model.background
    )


def tidied(model: Model, smallest: float) -> Model:
    """Take out disks below a radius, and those that lie within a larger one."""
    keep: list[int] = []
    for disk in np.argsort(-model.radii, kind="stable"):
        if model.radii[disk] <= smallest:
            break
        distance = np.hypot(*(model.positions[keep] - model.positions[disk]).T)
        if all(distance > 0.6 * np.maximum(model.radii[keep], model.radii[disk])):
            keep.append(int(disk))
    if not keep:
        keep = [int(model.radii.argmax())]
    return model.with_disks(model.positions[keep], model.radii[keep])


def polish(
    model: Model,
    target: Amplitudes,
    floor: float,
    maps: tuple[Lattice, NDArray[np.float64]],
    recipe: Recipe,
    refinement: Refinement,
    most_disks: int,
    rounds: int = 8,
) -> tuple[Model, float]:
    """Move, add, split and take away disks at low resolution, until the residual is that of the noise.

    Parameters
    ----------
    model : Model
    target : Amplitudes
    floor : float
        Residual that the noise leaves.
    maps
        Of :func:`difference_lattice`.
    recipe : Recipe
    refinement : Refinement
    most_disks : int
    rounds : int

    Returns
    -------
    model : Model
    residual : float
    """

    def fit(trial: Model, steps: int) -> tuple[Model, float]:
        moved, loss = refinement.refine(trial, target, steps)
        return moved, target.residual(loss)

    radius, blur = recipe.radius, refinement.point_spread / recipe.stride
    model, residual = fit(scaled(model, target, refinement), 15)
    model, residual = fit(tidied(model, 0.08 * radius), 4)
    before, failed, too_many = math.inf, False, 2 * model.number + 6
    for turn in range(rounds):
        excess = beyond(residual, floor)
        stalled = turn > 0 and not failed and excess < 0.6 * floor and residual > 0.97 * before
        if excess < max(2e-4, 0.12 * floor) or stalled:
            break
        if residual > 0.75 or (turn >= 2 and residual > 0.33 + floor) or (residual < 5e-3 and failed):
            break
        if recipe.stop() or (model.number > too_many and excess > 0.5 * floor):
            break
        before = residual
        places = difference_peaks(*maps, model, 4 if residual > 0.08 else 2, 0.55, blur)
        size = radius * min(0.6, max(0.15, 1.2 * math.sqrt(residual)))
        wider = model.and_disks(np.column_stack([places, np.full(len(places), size)]))
        wider = wider.with_disks(wider.positions[: most_disks + 4], wider.radii[: most_disks + 4])
        wider, _ = fit(wider, 15)
        wider, wider_residual = fit(tidied(wider, 0.07 * radius), 6)
        if wider_residual < 0.985 * residual:
            model, residual, failed = wider, wider_residual, False
            continue
        if residual < max(5e-3, 1.17 * floor):
            break
        failed = True
        other, other_residual = _best_change(model, residual, fit, radius)
        if not other_residual < 0.985 * residual:
            break
        model, residual = other, other_residual
    return model, residual


def _best_change(model, residual, fit, radius):  # type: ignore[no-untyped-def]
    """Try to split each of the large disks, or to take away one."""
    trials = []
    for disk in np.argsort(-model.radii, kind="stable")[:5]:
        part = 0.75 * model.radii[disk]
        for angle in np.arange(4) * np.pi / 4.0:
            way = 1.1 * part * np.array([math.cos(angle), math.sin(angle)])
            place = model.positions[disk]
            halves = np.array([[*(place + way), part], [*(place - way), part]])
            trials.append(model.without(int(disk)).and_disks(halves))
    if model.number > 2:
        trials += [model.without(disk) for disk in range(model.number)]
    best = (math.inf, model)
    for trial in trials:
        moved, its_residual = fit(trial, 3)
        rank = its_residual - (0.02 * residual if trial.number < model.number else 0.0)
        if rank < best[0]:
            best = (rank, moved)
    moved, _ = fit(best[1], 12)
    return fit(tidied(moved, 0.07 * radius), 4)
