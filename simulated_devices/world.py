"""What is less ideal in the real world than disks at rest in coherent light; each effect off by default.

Use :class:`World` with a detector or :func:`simulated_devices.simulate_frame`: it says of what shape the
particles are, how they move during an exposure, and what the beam is like. The settings are plain numbers,
which are recorded beside the frames, so that these can be made again from them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulated_devices.disks import DiskSystem, Family, draw_radii, draw_spheres, draw_system
from simulated_devices.grids import BOX_LENGTH
from speckle_plugin.scattering import (
    PixelGrid,
    intensity_of_disks,
    intensity_of_spheres,
    intensity_of_squares,
    partially_coherent,
)

__all__ = ["Shape", "World", "draw_intensity"]


class Shape(StrEnum):
    """Shapes of the particles; their number and radii are those of a family of disks."""

    DISK = "disk"
    SPHERE = "sphere"
    """Spheres in a cubic box, seen along the beam (the paper's "3D"): in the picture they may overlap."""
    SQUARE = "square"
    """Squares of the same areas, each turned by an angle of its own."""


@dataclass(frozen=True)
class World:
    """Settings of particles and beam.

    Parameters
    ----------
    shape : Shape or str
    coherence_length : float, optional
        Transverse coherence length of the beam, in the units of the box: two points at the distance d have
        the degree of coherence ``exp(-d^2 / (2 coherence_length^2))``. None is a fully coherent beam.
    beam_width : float, optional
        Standard deviation of the Gaussian intensity of the beam on the sample, in the units of the box; the
        beam is on the middle of the box, and each particle scatters by the amplitude at its centre. None is a
        beam of the same intensity everywhere.
    motion : float
        Standard deviation, along each axis, of the way that a particle goes in a straight line during an
        exposure, each by itself, in the units of the box. 0 is off.
    motion_steps : int
        Moments of the exposure that are summed, where particles move.

    Raises
    ------
    ValueError
        If a setting is outside of its range.
    """

    shape: str = Shape.DISK
    coherence_length: float | None = None
    beam_width: float | None = None
    motion: float = 0.0
    motion_steps: int = 8

    def __post_init__(self) -> None:
        if self.shape not in tuple(Shape):
            raise ValueError(f"shape must be one of {', '.join(Shape)}, not {self.shape!r}")
        object.__setattr__(self, "shape", str(Shape(self.shape)))
        for name in ("coherence_length", "beam_width"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be a length above 0, or None for no limit, not {value!r}")
        if not (math.isfinite(self.motion) and self.motion >= 0):
            raise ValueError(f"motion must be a length of 0 or more (0 turns it off), not {self.motion!r}")
        if self.motion_steps != int(self.motion_steps) or self.motion_steps < 2:
            raise ValueError(f"motion_steps must be an integer of 2 or more, not {self.motion_steps!r}")

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for a document or a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> World:
        """Make a world again from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If a setting is unknown or outside of its range.
        """
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"unknown settings of the world: {', '.join(sorted(unknown))}; expected some of "
                f"{', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**settings)


def draw_intensity(
    world: World, family: Family | str, disk_number: int, grid: PixelGrid, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw one configuration, and compute what it scatters.

    Parameters
    ----------
    world : World
    family : Family or str
    disk_number : int
        How many particles.
    grid : PixelGrid
    rng : numpy.random.Generator
        The configuration comes first, so that disks at rest are those of
        :func:`simulated_devices.draw_system`.

    Returns
    -------
    array, shape `grid.shape`, float64

    Raises
    ------
    ValueError
        If the family is unknown, or so many particles do not fit into the box.
    """
    angles = np.zeros(disk_number)
    if world.shape == Shape.SPHERE:
        system = draw_spheres(draw_radii(family, disk_number, rng), rng)
    elif world.shape == Shape.SQUARE:
        # Room for the corners, and squares of the disks' areas.
        system = draw_system(family, disk_number, rng, room=math.sqrt(math.pi / 2.0))
        angles = rng.uniform(0.0, math.pi / 2.0, disk_number)
    else:
        system = draw_system(family, disk_number, rng)
    ways = rng.normal(0.0, world.motion, system.positions.shape) if world.motion > 0 else None
    return scattered(world, system, angles, ways, grid)


def scattered(
    world: World,
    system: DiskSystem,
    angles: NDArray[np.float64],
    ways: NDArray[np.float64] | None,
    grid: PixelGrid,
) -> NDArray[np.float64]:
    """Compute what particles scatter.

    Parameters
    ----------
    world : World
    system : DiskSystem
        Positions in the middle of the exposure, and radii.
    angles : array, shape (n,)
        Of squares.
    ways : array, shape (n, 2), or None
        How far each particle goes during the exposure.
    grid : PixelGrid

    Returns
    -------
    array, shape `grid.shape`, float64
    """

    def at(positions: NDArray[np.float64], where: PixelGrid) -> NDArray[np.float64]:
        light = _illumination(world, positions)
        if world.shape == Shape.SPHERE:
            return intensity_of_spheres(positions, system.radii, where, light)
        if world.shape == Shape.SQUARE:
            edges = system.radii * math.sqrt(math.pi)
            return intensity_of_squares(positions, edges, angles, where, light)
        return intensity_of_disks(positions, system.radii, where, light)

    def coherent(where: PixelGrid) -> NDArray[np.float64]:
        if ways is None:
            return at(system.positions, where)
        moments = (np.arange(world.motion_steps) + 0.5) / world.motion_steps - 0.5
        frames = (at(system.positions + moment * ways, where) for moment in moments)
        return np.asarray(sum(frames, np.zeros(where.shape)) / world.motion_steps)

    if world.coherence_length is None:
        return coherent(grid)
    return partially_coherent(coherent, grid, world.coherence_length)


def _illumination(world: World, positions: NDArray[np.float64]) -> NDArray[np.float64] | None:
    """Give the amplitude of the beam at each particle, the square root of its intensity."""
    if world.beam_width is None:
        return None
    squared = ((positions - BOX_LENGTH / 2.0) ** 2).sum(axis=1)
    return np.asarray(np.exp(-squared / (4.0 * world.beam_width**2)))
