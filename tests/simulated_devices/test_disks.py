"""Radii of each family, and placements without overlap."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_devices import DISK_NUMBERS, DiskSystem, Family, draw_radii, draw_system

BOX = 2000.0
FIXED_AREA = [family for family in Family if family is not Family.CONSTANT_RADIUS]


@pytest.mark.parametrize("family", FIXED_AREA)
@pytest.mark.parametrize("disk_number", DISK_NUMBERS)
def test_total_area_is_that_of_two_disks(family: Family, disk_number: int) -> None:
    radii = draw_radii(family, disk_number, np.random.default_rng(disk_number))
    assert radii.shape == (disk_number,)
    assert (radii > 0).all()
    assert (radii**2).sum() == pytest.approx(16200.0)


def test_equal_radii() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_allclose(draw_radii("mono", 8, rng), np.sqrt(16200 / 8))
    np.testing.assert_array_equal(draw_radii("constant_radius", 8, rng), 90.0)


def test_poly_is_drawn_afresh() -> None:
    rng = np.random.default_rng(0)
    assert not np.allclose(draw_radii("poly", 8, rng), draw_radii("poly", 8, rng))


def test_poly_radii_spread_by_a_third() -> None:
    rng = np.random.default_rng(0)
    radii = np.array([draw_radii("poly", 20, rng) for _ in range(500)])
    relative_variance = (radii.var(axis=1, ddof=1) / radii.mean(axis=1) ** 2).mean()
    assert np.sqrt(relative_variance) == pytest.approx(1 / 3, rel=0.03)


def test_poly_published_shares_its_radii() -> None:
    first = draw_system("poly_published", 8, np.random.default_rng(1))
    second = draw_system("poly_published", 8, np.random.default_rng(2))
    np.testing.assert_array_equal(first.radii, second.radii)
    assert not np.array_equal(first.positions, second.positions)
    other = draw_system("poly_published", 8, np.random.default_rng(1), published_seed=1)
    assert not np.array_equal(first.radii, other.radii)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("disk_number", DISK_NUMBERS)
def test_placement(family: Family, disk_number: int) -> None:
    rng = np.random.default_rng([3, disk_number])
    for _ in range(5):
        system = draw_system(family, disk_number, rng)
        positions, radii = system.positions, system.radii
        assert system.disk_number == disk_number
        assert (positions >= radii[:, None]).all()
        assert (positions <= BOX - radii[:, None]).all()
        distance = np.linalg.norm(positions[:, None] - positions[None], axis=-1)
        reach = radii[:, None] + radii[None] + 2.0
        others = ~np.eye(disk_number, dtype=bool)
        assert (distance >= reach)[others].all()


def test_seed_makes_a_system_again() -> None:
    first, second, other = (draw_system("poly", 12, np.random.default_rng(seed)) for seed in (7, 7, 8))
    np.testing.assert_array_equal(first.positions, second.positions)
    np.testing.assert_array_equal(first.radii, second.radii)
    assert not np.array_equal(first.positions, other.positions)


def test_too_many_disks() -> None:
    with pytest.raises(ValueError, match="200 disks of the family 'constant_radius'.*do not fit"):
        draw_system("constant_radius", 200, np.random.default_rng(0))


def test_wrong_arguments() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="mono, poly, poly_published, constant_radius"):
        draw_system("round", 3, rng)
    with pytest.raises(ValueError, match="disk_number must be a positive integer"):
        draw_system("mono", 0, rng)
    with pytest.raises(ValueError, match=r"positions of shape \(n, 2\)"):
        DiskSystem(np.zeros((3, 2)), np.ones(2))
    with pytest.raises(ValueError, match="radii positive"):
        DiskSystem(np.zeros((1, 2)), np.zeros(1))


def test_systems_are_frozen() -> None:
    system = draw_system("mono", 3, np.random.default_rng(0))
    with pytest.raises(ValueError, match="read-only"):
        system.positions[0, 0] = 0.0
