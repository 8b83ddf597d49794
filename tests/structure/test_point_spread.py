"""Blurred frames: the blur is undone for a start, and maps of what is missing know of it."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import SolveSettings, solve
from speckle_plugin.structure.difference import difference_peaks
from speckle_plugin.structure.lattice import Lattice, lattice_of
from speckle_plugin.structure.matching import largest_difference
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import observe
from speckle_plugin.structure.patterson import complete, normalize, restore
from speckle_plugin.structure.start import difference_lattice

TOLD = SolveSettings(point_spread=1.0)


def blurred(
    seed: list[int], number: int, photons: float = 1e6
) -> tuple[DiskSystem, np.ndarray, FrameGeometry, float]:
    rng = np.random.default_rng(seed)
    system = draw_system("poly", number, rng)
    grid = grid_by_name("quadrant", 257)
    frame = DetectorResponse(photons=photons, point_spread=1.0).respond(intensity(system, grid), rng)
    return system, frame, FrameGeometry(grid.shape, grid.beam_center), grid.pitch


def correlation(first: Lattice, second: Lattice, where: np.ndarray) -> float:
    return float(np.corrcoef(first.intensity[where], second.intensity[where])[0, 1])


def test_blurred_intensities_that_were_not_measured_are_restored() -> None:
    system, frame, geometry, k_step = blurred([701, 12], 12)
    sharp = intensity(system, grid_by_name("centered", 257))  # all that a quadrant does not show
    observation = observe(frame, geometry, k_step, TOLD)
    whole = observe(sharp, FrameGeometry(sharp.shape, (128.0, 128.0)), k_step, SolveSettings())
    truth, _ = normalize(lattice_of(whole, 0.07, 1), whole, 1.0)
    lattice, _ = normalize(lattice_of(observation, 0.07, 1), observation, 1.0)
    restored, completed = restore(lattice, 300, k_step), complete(lattice, 300)
    unseen = lattice.inside & ~lattice.known & truth.known & (truth.k < 0.055)
    assert correlation(restored, truth, unseen) > 0.8 > correlation(completed, truth, unseen) + 0.03


def test_the_difference_map_of_a_blurred_frame_shows_what_is_missing() -> None:
    system, frame, geometry, k_step = blurred([701, 8], 8)
    observation = observe(frame, geometry, k_step, TOLD)
    total = float(frame.sum()) / float(intensity(system, grid_by_name("quadrant", 257)).sum())
    positions = system.positions - system.positions.mean(axis=0)
    whole = Model(positions, system.radii, math.log(total), geometry.beam_center)
    maps = difference_lattice(observation, 0.06, 1)
    disk = int(np.argsort(system.radii)[4])
    places = difference_peaks(*maps, whole.without(disk), 1, 0.5, 1.0)
    assert np.hypot(*(places[0] - positions[disk])) < 15.0


@pytest.mark.parametrize("number", [14, 17])
def test_blurred_frames_of_many_disks_are_solved_by_the_first_starts(number: int) -> None:
    """No start led to the disks while the blur was undone by division."""
    system, frame, geometry, k_step = blurred([701, 0, 0, 0, number], number)
    structure = solve(frame, geometry, k_step, TOLD)
    assert structure.disk_number == number, structure.reason
    assert structure.starts <= 3
    found = np.column_stack([structure.x, structure.y, structure.r])
    assert largest_difference(found, np.column_stack([system.positions, system.radii])) < 2.0
