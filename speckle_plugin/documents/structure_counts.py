"""The summary of a run's second opinions, counted row by row."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from speckle_plugin.schema import NO_DISK_NUMBER, Opinion

__all__ = ["StructureCounts"]


class StructureCounts:
    """Counts the rows of a structure stream for the summary in the stop document."""

    def __init__(self) -> None:
        self._opinions: Counter[Opinion] = Counter()
        self._numbers: Counter[int] = Counter()
        self._radii: list[float] = []
        self._spreads: list[float] = []
        self._seconds = 0.0
        self._disagree = 0

    @property
    def frames(self) -> int:
        """How many rows there were."""
        return self._opinions.total()

    def add(self, row: Mapping[str, Any], label: int) -> None:
        """Count a row.

        Parameters
        ----------
        row : mapping
            By :func:`speckle_plugin.schema.structure_keys`.
        label : int
            The disk number that the network gave to the frame; 0 without one.
        """
        opinion = Opinion(row["certificate"])
        self._opinions[opinion] += 1
        if opinion is not Opinion.LEFT:
            self._seconds += float(row["seconds"])
        if opinion is Opinion.SOLVED:
            number = int(row["disk_number"])
            self._numbers[number] += 1
            self._radii.append(float(row["mean_radius"]))
            self._spreads.append(float(row["radius_spread"]))
            self._disagree += label not in (NO_DISK_NUMBER, number)

    def summary(self) -> dict[str, Any]:
        """Give the summary as plain values.

        Returns
        -------
        dict
            `frames` for which an opinion was asked; how many of them are `solved`, `not_explained`,
            `undecided` and `left`, which add up to it; `counts` of the solved by disk number; how many of
            these the network counted otherwise (`disagree`); lowest, mean and highest `mean_radius` and
            `radius_spread` of the solved, if there are any; and the seconds that an answer took.
        """
        answered = self.frames - self._opinions[Opinion.LEFT]
        summary: dict[str, Any] = {
            "frames": self.frames,
            **{str(opinion): self._opinions[opinion] for opinion in Opinion},
            "counts": {str(number): self._numbers[number] for number in sorted(self._numbers)},
            "disagree": self._disagree,
            "seconds_per_frame": self._seconds / answered if answered else 0.0,
        }
        for name, values in (("mean_radius", self._radii), ("radius_spread", self._spreads)):
            if values:
                summary[name] = {
                    "lowest": min(values),
                    "mean": float(np.mean(values)),
                    "highest": max(values),
                }
        return summary
