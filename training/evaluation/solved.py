"""The structure solution on the frames of a study, beside the network."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from simulated_devices import grid_by_name
from speckle_plugin.solving import SolverPool, SolveTask
from speckle_plugin.structure import SolveSettings, Structure
from training.frames import DrawnFrame, balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["SolverStudy"]

SETTINGS = SolveSettings(budget=10.0)


@dataclass(frozen=True)
class SolverStudy:
    """Solves a few frames of each set, since it takes about a second for each.

    Parameters
    ----------
    pool : SolverPool
    frames : int
        Frames of each set, spread over the disk numbers.
    """

    pool: SolverPool
    frames: int

    def measure(
        self,
        recipe: FrameRecipe,
        seed: int,
        report: Report | None = None,
        what: str = "",
    ) -> dict[str, Any]:
        """Solve the first frames of a balanced set; they are among those that the network is given.

        Returns
        -------
        dict
            As of :meth:`measure_frames`.
        """
        numbers = np.asarray(recipe.disk_numbers)
        count = max(2, min(self.frames, len(numbers)))  # a recipe of frames has two numbers at least
        chosen = numbers[np.unique(np.linspace(0, len(numbers) - 1, count).round().astype(int))]
        few = replace(recipe, disk_numbers=tuple(int(n) for n in chosen))
        frames = balanced_set(few, max(1, self.frames // len(chosen)), seed, "test")
        return self.measure_frames(frames, recipe, report, what)

    def measure_frames(
        self, frames: Iterable[DrawnFrame], recipe: FrameRecipe, report: Report | None = None, what: str = ""
    ) -> dict[str, Any]:
        """Solve frames, as many as `frames` says.

        Returns
        -------
        dict
            `frames`; the shares `certified`, `exact` (the disk number that was found is right, certified
            or not) and `accuracy` (certified, and right); how many are `certified_wrong`; and
            `seconds_per_frame` on one core.
        """
        k_step = grid_by_name(recipe.grid, recipe.size).pitch
        truth: list[int] = []

        def tasks() -> Iterator[SolveTask]:
            for frame, geometry, disk_number in itertools.islice(frames, self.frames):
                truth.append(disk_number)
                yield SolveTask(frame, geometry, k_step, SETTINGS)

        found: list[tuple[bool, int, float]] = []
        for outcome in self.pool.solve_each(tasks()):
            if isinstance(outcome, Structure):
                found.append((outcome.solved, outcome.disk_number, outcome.seconds))
            else:
                found.append((False, 0, 0.0))
            if report:
                report(f"{what}, solving", len(found), self.frames, {})
        certified, numbers, seconds = (np.array(values) for values in zip(*found, strict=True))
        exact = numbers == truth
        return {
            "frames": len(truth),
            "certified": float(certified.mean()),
            "certified_wrong": int((certified & ~exact).sum()),
            "exact": float(exact.mean()),
            "accuracy": float((certified & exact).mean()),
            "seconds_per_frame": float(seconds.mean()),
        }
