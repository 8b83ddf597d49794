"""Starts of different kinds, one after the other, until one explains the frame."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np

from speckle_plugin.structure.certificate import NEARLY
from speckle_plugin.structure.finish import Found, Sample, explained_at_start, finish
from speckle_plugin.structure.guinier import common_radius, effective_radius
from speckle_plugin.structure.lattice import stride_for
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.patterson import find_center, find_extent
from speckle_plugin.structure.refinement import Refinement
from speckle_plugin.structure.settings import SolveSettings
from speckle_plugin.structure.start import (
    Candidate,
    Recipe,
    Start,
    densities,
    difference_lattice,
    polish,
    scaled,
)
from speckle_plugin.structure.targets import Amplitudes

__all__ = ["Search"]

SHARP = 3.0
"""Resolution of a start: k times the effective radius."""

EQUAL, PERHAPS_EQUAL = -0.04, 0.15
"""Contrasts of a common form factor (see `guinier`) below which disks count as equal first, or in turn."""

OFF_CENTER = 1.1
"""Where the Patterson map of a moved centre is so many times as skew, that centre is tried first."""

STARTS = 12

RESTORING_ROUNDS = (300, 1000)
"""Rounds of restoring what a point spread blurred: few for many disks; far pairs, which matter most if there
are few disks, take longer."""

FIT_PIXELS, QUICK_PIXELS = 3000, 1500

MOST_POINTS = 150
"""A start's lattice reaches so many points from the beam at most."""

PIXELS_PER_DISK = 9
"""At low resolution so many are asked for each disk, lest the disks explain anything."""

CLEAR = 0.3
"""A candidate of a smaller residual, noise aside, is polished before other starts are made."""

GOOD_START = 2e-2
"""Residual of a start that is worth all pixels, whatever the noise."""

EXPLAINED = 2e-6
"""Residual of all pixels at which nothing better is looked for."""

GOOD_Z, PROMISING_Z = 6.0, 25.0
"""Deviance of a start beyond that of the noise, in standard deviations, that is worth all pixels."""


class Search:
    """The search for a frame's disks.

    Parameters
    ----------
    observation : Observation
    settings : SolveSettings
    clock : callable
        Gives the time in seconds.

    Attributes
    ----------
    starts : int
        How many were made.
    out_of_time : bool
        Whether the budget ended the search.
    history : list of str
    """

    def __init__(self, observation: Observation, settings: SolveSettings, clock: Callable[[], float]) -> None:
        self.settings = settings
        self.clock = clock
        self.deadline = clock() + settings.budget
        self.rng = np.random.default_rng(settings.seed)
        self.starts = 0
        self.out_of_time = False
        self.history: list[str] = []
        radius = effective_radius(observation)
        self.common, self.contrast = common_radius(observation, radius)
        if self.contrast < EQUAL:
            radius = self.common
        extent = settings.extent or find_extent(
            observation, radius, _k_most(observation), settings.point_spread > 0
        )
        self.sample = Sample(radius, extent, settings.most_disks, self._stop)
        self.history.append(f"effective radius {radius:.4g}, extent {extent:.4g}")
        self.told = observation
        self.refinement = Refinement(
            prior=settings.prior, point_spread=settings.point_spread, smallest=1e-3 * radius
        )
        self.allowed = replace(
            self.refinement, fit_center=settings.fit_center, fit_background=settings.fit_background
        )

    def run(self) -> Found | None:
        """Search until a start explains the frame, or none is left."""
        best: tuple[float, Start, Candidate] | None = None
        found: Found | None = None
        patient = self.settings.point_spread == 0  # with one, many starts are tried before any is laboured
        for candidate in self._candidates():
            start = self._polished(candidate)
            rank, model = self._rank(start, candidate)
            start = replace(start, model=model)
            if best is None or rank < best[0]:
                best = (rank, start, candidate)
            # Where there is little noise, one small disk that is missing may be many standard deviations.
            if start.residual < GOOD_START or (self.told.noise != "none" and rank < PROMISING_Z):
                new = self._finish(start, candidate, True, patient)
                if found is None or _better(new, found):
                    found = new
                if self._explained(found):
                    return found
            if self._stop():
                self.out_of_time = True
                break
        if best is not None and (found is None or not (patient or self.out_of_time)):
            new = self._finish(best[1], best[2], promising=found is not None)
            found = new if found is None or _better(new, found) else found
        return found

    def _stop(self) -> bool:
        return self.clock() > self.deadline

    def _explained(self, found: Found) -> bool:
        if self.told.noise == "none":
            return found.residual < EXPLAINED or (self.starts >= 3 and found.residual < NEARLY)
        return max(found.z_score, found.rings_z_score) < GOOD_Z

    def _finish(self, start: Start, candidate: Candidate, promising: bool, patient: bool = True) -> Found:
        fine = replace(candidate.refinement, coarse=False)
        how = fine, self.allowed, self.sample, promising, patient
        return finish(start.model, start.resolution, candidate.observation, *how)

    def _rank(self, start: Start, candidate: Candidate) -> tuple[float, Model]:
        """Tell how far a start is from explaining what it was fitted to; less is better."""
        if candidate.observation.noise == "none":
            return start.residual, start.model
        if start.residual > 1.5 * start.floor + 0.01:
            return 1e3 + 1e3 * start.excess, start.model
        model, z = explained_at_start(start, candidate.observation, candidate.refinement, self.sample)
        self.history.append(f"  z {z:.1f}, {model.number} disks")
        return z, model

    def _candidates(self) -> Iterator[Candidate]:
        """Give what starts show, those that look right at once, the others after a start of another kind."""
        waiting: list[Candidate] = []
        for candidates in self._started():
            self.starts += 1
            waiting = sorted([*waiting, *candidates], key=lambda candidate: candidate.excess)
            while waiting and (waiting[0].excess < CLEAR or self.starts % 2 == 0 or self._stop()):
                yield waiting.pop(0)

    def _recipes(self) -> Iterator[tuple[Observation, Recipe, Refinement]]:
        """Give what to try, the likeliest first."""
        radius, extent = self.sample.radius, self.sample.extent
        stride = stride_for(self.told.k_step, extent)
        common, contrast = self.common, self.contrast
        equal = self.settings.prior is not None and self.settings.prior.equal
        crowded = extent * SHARP / radius < 100.0  # too few points for the densities of equal disks
        first = equal or (contrast < EQUAL and crowded)
        maybe = equal or contrast < PERHAPS_EQUAL
        k_most = _k_most(self.told)
        quick = replace(self.refinement, coarse=True)
        off, gain = np.zeros(2), 1.0
        if self.allowed.fit_center:
            off, gain = find_center(self.told, min(2.0 * SHARP / radius, k_most), radius, 1.0)
        elsewhere = 0.03 < np.abs(off).max() < 1.05
        # What a point spread leaves of the Patterson map tells little of the centre.
        moved_first = gain > OFF_CENTER and self.settings.point_spread == 0
        for turn in range(STARTS):
            sharp = SHARP * (1.0, 0.8, 1.25)[turn % 3]
            one = None
            if maybe and (turn % 2 == 1 or (turn == 0 and first)):
                one = common
                sharp = (6.5, 9.0, 5.2)[(turn // 2) % 3] * radius / common
            observation, refinement = self.told, quick
            if elsewhere and (turn // 2 % 2 == 0) == moved_first:  # two starts each in turn
                row, column = np.asarray(self.told.center) + off
                observation = replace(self.told, center=(float(row), float(column)))
                refinement = replace(quick, fit_center=True)
                self.history.append(f"beam centre moved to {row:.2f}, {column:.2f}")
            threshold = (0.9, 1.1, 0.8)[turn % 3]
            resolution = min(sharp / radius, k_most, MOST_POINTS * stride * self.told.k_step)
            batch = 4 if resolution < MOST_POINTS * stride * self.told.k_step / 2.0 else 2
            restoring = RESTORING_ROUNDS[turn // 3 % 2]
            recipe = Recipe(
                resolution, stride, radius, extent, one, threshold, 250, batch, restoring, self._stop
            )
            yield observation, recipe, refinement

    def _started(self) -> Iterator[list[Candidate]]:
        """Solve the phases, once for each recipe, and give the two best densities as disks."""
        for number, (observation, recipe, refinement) in enumerate(self._recipes(), start=1):
            merge = not refinement.fit_center
            quick = observation.amplitudes(recipe.resolution, QUICK_PIXELS, self.rng, merge)
            candidates = []
            for disks in densities(observation, recipe, refinement.point_spread, self.rng):
                if not len(disks):
                    continue
                model = Model(disks[:, :2], disks[:, 2], 0.0, observation.center)
                model, loss = refinement.refine(scaled(model, quick, refinement), quick, 6)
                candidates.append((quick.residual(loss), model))
            candidates.sort(key=lambda c: c[0])
            if len(candidates) > 1 and _alike(*candidates[:2]):
                del candidates[1]
            floor = _floor(quick, observation)
            yield [
                Candidate(number, model, residual, floor, observation, recipe, refinement)
                for residual, model in candidates[:2]
            ]

    def _polished(self, candidate: Candidate) -> Start:
        """Mend a candidate at its resolution."""
        observation, recipe, refinement = candidate.observation, candidate.recipe, candidate.refinement
        target = observation.amplitudes(
            recipe.resolution, FIT_PIXELS, self.rng, merge=not refinement.fit_center
        )
        floor = _floor(target, observation)
        maps = difference_lattice(observation, recipe.resolution, recipe.stride)
        most = min(self.settings.most_disks, len(target.values) // PIXELS_PER_DISK)
        model, residual = polish(candidate.model, target, floor, maps, recipe, refinement, most)
        self.history.append(
            f"start {candidate.number}: {candidate.model.number} disks, residual {candidate.residual:.3f} -> "
            f"{model.number}, {residual:.3g} (noise {floor:.3g})"
        )
        return Start(model, residual, floor, recipe.resolution)


def _floor(target: Amplitudes, observation: Observation) -> float:
    """Give the residual that noise alone leaves."""
    return math.sqrt(observation.amplitude_variance * float((target.weights**2).sum()) / target.norm)


def _alike(first: tuple[float, Model], second: tuple[float, Model]) -> bool:
    """Say whether two starts came to the same model, by all appearance."""
    return first[1].number == second[1].number and second[0] - first[0] < 1e-4 * first[0]


def _k_most(observation: Observation) -> float:
    """Largest |k| along rows or columns."""
    reach = max(max(c, n - 1 - c) for c, n in zip(observation.center, observation.values.shape, strict=True))
    return reach * observation.k_step


def _better(new: Found, old: Found) -> bool:
    if math.isnan(new.z_score):
        return new.residual < 0.9 * old.residual
    return new.z_score < old.z_score
