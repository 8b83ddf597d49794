"""Disk systems: how many disks, of what radii, where in the box.

Every random choice comes from the :class:`numpy.random.Generator` that is passed in, so
a system is made again from its seed. Lengths are in the units of the model's box.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from simulated_devices.grids import BOX_LENGTH
from speckle_plugin.scattering import compiled

__all__ = ["DISK_NUMBERS", "DiskSystem", "Family", "draw_radii", "draw_spheres", "draw_system"]

DISK_NUMBERS = range(2, 21)
"""The disk numbers of the model: 2 to 20."""

SUM_OF_SQUARED_RADII = 16200.0
"""Of every family but `constant_radius`: the total area is that of two disks of radius 90."""

CONSTANT_RADIUS = 90.0
MINIMUM_GAP = 2.0
TRIES_PER_DISK = 2000
RESTARTS = 200


class Family(StrEnum):
    """Ways to choose the radii of the disks."""

    MONO = "mono"
    """All equal, total area fixed (the paper's section 3.1)."""
    POLY = "poly"
    """Normal(1, 1/3), drawn afresh for every configuration (the paper's section 2)."""
    POLY_PUBLISHED = "poly_published"
    """One draw of areas per disk number, shared by all configurations (the published code)."""
    CONSTANT_RADIUS = "constant_radius"
    """Radius 90 for every disk number (the published frames)."""


@dataclass(frozen=True)
class DiskSystem:
    """Disks in a box.

    Parameters
    ----------
    positions : array, shape (n, 2)
        Centres of the disks, each coordinate between 0 and the box length.
    radii : array, shape (n,)
        Radii of the disks.

    Raises
    ------
    ValueError
        If the shapes do not match, or a radius is not positive.
    """

    positions: NDArray[np.float64]
    radii: NDArray[np.float64]

    def __post_init__(self) -> None:
        positions = np.ascontiguousarray(self.positions, dtype=np.float64)
        radii = np.ascontiguousarray(self.radii, dtype=np.float64)
        if radii.ndim != 1 or positions.shape != (radii.size, 2) or radii.size == 0:
            raise ValueError(
                f"expected positions of shape (n, 2) and radii of shape (n,), n >= 1; "
                f"got {positions.shape} and {radii.shape}"
            )
        if not (np.isfinite(positions).all() and np.isfinite(radii).all() and (radii > 0).all()):
            raise ValueError("positions and radii must be finite, and radii positive")
        positions.flags.writeable = radii.flags.writeable = False
        object.__setattr__(self, "positions", positions)
        object.__setattr__(self, "radii", radii)

    @property
    def disk_number(self) -> int:
        """How many disks there are."""
        return self.radii.size


def draw_radii(
    family: Family | str, disk_number: int, rng: np.random.Generator, published_seed: int = 0
) -> NDArray[np.float64]:
    """Draw the radii of one configuration.

    Parameters
    ----------
    family : Family or str
        How radii are chosen.
    disk_number : int
        How many disks.
    rng : numpy.random.Generator
        Source of the draws of `poly`.
    published_seed : int
        For `poly_published` only: the seed of the one draw per disk number.

    Returns
    -------
    array, shape (disk_number,)

    Raises
    ------
    ValueError
        If the family is unknown or the disk number is not positive.
    """
    if disk_number < 1:
        raise ValueError(f"disk_number must be a positive integer, not {disk_number!r}")
    try:
        family = Family(family)
    except ValueError:
        names = ", ".join(f.value for f in Family)
        raise ValueError(f"unknown family {family!r}: expected one of {names}") from None
    if family is Family.CONSTANT_RADIUS:
        return np.full(disk_number, CONSTANT_RADIUS)
    if family is Family.MONO:
        return np.full(disk_number, np.sqrt(SUM_OF_SQUARED_RADII / disk_number))
    if family is Family.POLY:
        squares = _positive_normal(rng, 1.0, 1.0 / 3.0, disk_number) ** 2
    else:
        shared = np.random.default_rng([published_seed, disk_number])
        squares = _positive_normal(shared, 3.0, 1.0, disk_number)
    return np.sqrt(SUM_OF_SQUARED_RADII * squares / squares.sum())


def _positive_normal(
    rng: np.random.Generator, mean: float, deviation: float, count: int
) -> NDArray[np.float64]:
    draws = rng.normal(mean, deviation, count)
    while (draws <= 0).any():
        bad = draws <= 0
        draws[bad] = rng.normal(mean, deviation, bad.sum())
    return draws


def draw_system(
    family: Family | str,
    disk_number: int,
    rng: np.random.Generator,
    published_seed: int = 0,
    room: float = 1.0,
) -> DiskSystem:
    """Draw one configuration: radii by the family, positions by random sequential addition.

    No two disks come nearer than a gap of 2, and none is cut by the box.

    Parameters
    ----------
    family, disk_number, rng, published_seed
        As for :func:`draw_radii`.
    room : float
        Each takes as much room as a disk of a radius so many times its own.

    Raises
    ------
    ValueError
        If the family is unknown, or so many disks do not fit into the box.
    """
    radii = draw_radii(family, disk_number, rng, published_seed)
    positions = np.empty((disk_number, 2))
    if not _add_sequentially(radii * room, positions, BOX_LENGTH, rng):
        raise ValueError(
            f"{disk_number} disks of the family {Family(family).value!r} (largest radius "
            f"{radii.max():.0f}) do not fit into the box of {BOX_LENGTH:.0f}: give a smaller disk_number"
        )
    return DiskSystem(positions, radii)


def draw_spheres(radii: NDArray[np.float64], rng: np.random.Generator) -> DiskSystem:
    """Draw places of spheres in a cubic box by random sequential addition, and see them along the beam.

    No two spheres come nearer than a gap of 2, and none is cut by the box; their projections may overlap.

    Raises
    ------
    ValueError
        If they do not fit into the box.
    """
    places = np.empty((radii.size, 3))
    for placed, radius in enumerate(radii):
        for _ in range(TRIES_PER_DISK):
            places[placed] = rng.uniform(radius, BOX_LENGTH - radius, 3)
            distances = np.linalg.norm(places[:placed] - places[placed], axis=1)
            if (distances >= radii[:placed] + radius + MINIMUM_GAP).all():
                break
        else:
            raise ValueError(
                f"{radii.size} spheres (largest radius {radii.max():.0f}) do not fit into the box of "
                f"{BOX_LENGTH:.0f}: give a smaller disk_number"
            )
    return DiskSystem(places[:, :2], radii)


@compiled()
def _add_sequentially(radii, positions, box, rng):  # type: ignore[no-untyped-def]
    """Fill `positions` by random sequential addition; start again when it jams."""
    if 2.0 * radii.max() > box:
        return False
    for _ in range(RESTARTS):
        placed = 0
        while placed < radii.size:
            fits = False
            r = radii[placed]
            for _ in range(TRIES_PER_DISK):
                x = r + rng.random() * (box - 2.0 * r)
                y = r + rng.random() * (box - 2.0 * r)
                fits = True
                for other in range(placed):
                    dx = x - positions[other, 0]
                    dy = y - positions[other, 1]
                    reach = r + radii[other] + MINIMUM_GAP
                    if dx * dx + dy * dy < reach * reach:
                        fits = False
                        break
                if fits:
                    positions[placed, 0] = x
                    positions[placed, 1] = y
                    break
            if not fits:
                break
            placed += 1
        if placed == radii.size:
            return True
    return False
