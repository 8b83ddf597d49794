"""Where on a sample how many disks are: the disk number as a function of the position."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np

from simulated_devices.disks import DISK_NUMBERS

__all__ = ["MapShape", "SampleMap"]


class MapShape(StrEnum):
    """Ways in which the disk number changes over the sample."""

    STEPS = "steps"
    """Bands along x, each of a disk number drawn by the seed, never that of the band before."""
    GRADIENT = "gradient"
    """From the first to the last disk number along x, the same along y."""
    PATCHES = "patches"
    """Regions around points drawn by the seed, each of a disk number drawn by the seed."""


@dataclass(frozen=True)
class SampleMap:
    """How many disks there are at each position of a sample.

    Parameters
    ----------
    shape : MapShape or str
        `steps`, `gradient` or `patches`.
    disk_numbers : tuple of int
        The disk numbers that occur; a gradient runs through them in this order.
    seed : int
        Fixes the disk numbers of `steps` and `patches`.
    parts : int
        Number of bands of `steps`, or of regions of `patches`.
    x_range, y_range : tuple of float
        Extent of the sample in mm.

    Raises
    ------
    ValueError
        If a setting is outside of its range.
    """

    shape: MapShape | str = MapShape.GRADIENT
    disk_numbers: tuple[int, ...] = tuple(DISK_NUMBERS)
    seed: int = 0
    parts: int = 8
    x_range: tuple[float, float] = (-1.0, 1.0)
    y_range: tuple[float, float] = (-1.0, 1.0)

    def __post_init__(self) -> None:
        try:
            shape = MapShape(self.shape)
        except ValueError:
            names = ", ".join(s.value for s in MapShape)
            raise ValueError(f"unknown shape of a map {self.shape!r}: expected one of {names}") from None
        numbers = tuple(int(n) for n in self.disk_numbers)
        if not numbers or numbers != tuple(self.disk_numbers) or min(numbers) < 1:
            raise ValueError(f"disk_numbers must be positive integers, not {self.disk_numbers!r}")
        for name in ("seed", "parts"):
            value, least = getattr(self, name), int(name == "parts")
            if int(value) != value or value < least:
                raise ValueError(f"{name} must be an integer of {least} or more, not {value!r}")
        for name in ("x_range", "y_range"):
            limits = tuple(float(v) for v in getattr(self, name))
            if len(limits) != 2 or not all(map(math.isfinite, limits)) or limits[0] >= limits[1]:
                raise ValueError(f"{name} must be (lowest, highest) in mm, not {getattr(self, name)!r}")
            object.__setattr__(self, name, limits)
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "disk_numbers", numbers)

    def disk_number(self, x: float, y: float) -> int:
        """Give the disk number at a position.

        Parameters
        ----------
        x, y : float
            Position in mm.

        Raises
        ------
        ValueError
            If the position is not on the sample.
        """
        (left, right), (bottom, top) = self.x_range, self.y_range
        if not (left <= x <= right and bottom <= y <= top):
            raise ValueError(
                f"({x:g}, {y:g}) mm is not on the sample, which reaches from x = {left:g} to {right:g} and "
                f"y = {bottom:g} to {top:g} mm: move onto it, or give its map a larger x_range and y_range"
            )
        # Shares of the extent, 0 to 1.
        u, v = (x - left) / (right - left), (y - bottom) / (top - bottom)
        if self.shape is MapShape.GRADIENT:
            return self.disk_numbers[_part(u, len(self.disk_numbers))]
        rng = np.random.default_rng(self.seed)
        if self.shape is MapShape.STEPS:
            return self._bands(rng)[_part(u, self.parts)]
        points = rng.random((self.parts, 2))
        numbers = rng.choice(self.disk_numbers, self.parts)
        return int(numbers[np.argmin((points[:, 0] - u) ** 2 + (points[:, 1] - v) ** 2)])

    def _bands(self, rng: np.random.Generator) -> list[int]:
        bands: list[int] = []
        for _ in range(self.parts):
            others = [n for n in self.disk_numbers if not bands or n != bands[-1]]
            bands.append(int(rng.choice(others or self.disk_numbers)))
        return bands

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for a document or a JSON file."""
        return {
            name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()
        } | {"shape": str(self.shape)}

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> SampleMap:
        """Make a map again from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If a setting is unknown or outside of its range.
        """
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"unknown settings of a sample map: {', '.join(sorted(unknown))}; "
                f"expected some of {', '.join(cls.__dataclass_fields__)}"
            )
        plain: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in settings.items()
        }
        return cls(**plain)


def _part(share: float, parts: int) -> int:
    return min(int(share * parts), parts - 1)
