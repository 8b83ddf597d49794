"""Intensities against known values, symmetries, the formula itself, and the published frames."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import j1
from scipy.stats import kstest

from simulated_devices import (
    DiskSystem,
    Family,
    PixelGrid,
    centered,
    draw_system,
    grid_by_name,
    intensity,
    published,
    quadrant,
)

THREE_DISKS = DiskSystem(
    np.array([[500.0, 700.0], [1200.0, 300.0], [1500.0, 1600.0]]), np.array([90.0, 60.0, 75.0])
)

GRIDS = {
    "quadrant": quadrant(129),
    "centered": centered(129),
    "published": published(129),
    "beam between pixels": PixelGrid((60, 51), 0.003, (31.25, 22.7)),
    "beam off the detector": PixelGrid((51, 60), 0.003, (-7.3, 90.6)),
    "even number of columns": PixelGrid((33, 64)),
    "two columns": PixelGrid((3, 2)),
    "one pixel": PixelGrid((1, 1), 0.01, (0.5, 3.5)),
}

# Disk number: mean and standard deviation over ten published frames (PHYSICS.md).
FIRST_MOMENTS = {
    2: (61.506, 0.174),
    3: (61.402, 0.333),
    5: (60.900, 0.881),
    10: (60.249, 0.534),
    15: (59.768, 0.633),
    20: (58.980, 0.800),
}


def by_the_formula(system: DiskSystem, grid: PixelGrid) -> NDArray[np.float64]:
    amplitude = np.zeros(grid.shape, dtype=complex)
    for (x, y), radius in zip(system.positions, system.radii, strict=True):
        q = grid.k_magnitude * radius
        shape = np.where(q == 0.0, 0.5, j1(q) / np.where(q == 0.0, 1.0, q))
        phase = np.exp(-1j * (grid.k_rows[:, None] * x + grid.k_columns[None, :] * y))
        amplitude += 2.0 * np.pi * radius**2 * shape * phase
    return np.abs(amplitude) ** 2


@functools.cache
def whole_distances(size: int) -> NDArray[np.float64]:
    """Distance of each pixel from the middle one, rounded down."""
    rows, columns = np.indices((size, size)) - size // 2
    return np.floor(np.hypot(rows, columns))


def first_moment(frame: NDArray[Any]) -> float:
    return float((whole_distances(len(frame)) * frame).sum() / frame.sum())


@pytest.mark.parametrize(
    ("pixel", "expected"),
    [
        ((0, 0), 2962417278),
        ((1, 0), 1698654072),
        ((0, 1), 1506273920),
        ((10, 7), 1538639809),
        ((100, 50), 351236.1879),
        ((256, 256), 29881.63051),
    ],
)
def test_reference_values(pixel: tuple[int, int], expected: float) -> None:
    assert intensity(THREE_DISKS, quadrant())[pixel] == pytest.approx(expected, rel=1e-6)


def test_reference_sum() -> None:
    assert intensity(THREE_DISKS, quadrant()).sum() == pytest.approx(2.2921739e11, rel=1e-6)


@pytest.mark.parametrize("family", Family)
@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_formula(family: Family, grid: PixelGrid) -> None:
    rng = np.random.default_rng(1)
    for disk_number in (1, 2, 7, 20):
        system = draw_system(family, disk_number, rng)
        expected = by_the_formula(system, grid)
        # Where the disks cancel out, the error is that of the single disks' intensities.
        incoherent = sum(
            by_the_formula(DiskSystem(system.positions[d : d + 1], system.radii[d : d + 1]), grid)
            for d in range(disk_number)
        )
        assert np.all(np.abs(intensity(system, grid) - expected) <= 1e-6 * (expected + incoherent) + 1e-3)


@pytest.mark.parametrize("family", Family)
def test_forward_intensity(family: Family) -> None:
    system = draw_system(family, 11, np.random.default_rng(2))
    expected = (np.pi * (system.radii**2).sum()) ** 2
    assert intensity(system, quadrant(5))[0, 0] == pytest.approx(expected, rel=1e-9)
    assert intensity(system, centered(5))[2, 2] == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("family", Family)
def test_shift_of_all_disks(family: Family) -> None:
    system = draw_system(family, 11, np.random.default_rng(3))
    shifted = DiskSystem(system.positions + [123.4, -56.7], system.radii)
    np.testing.assert_allclose(
        intensity(shifted, quadrant()), intensity(system, quadrant()), rtol=1e-6, atol=1e-2
    )


@pytest.mark.parametrize("family", Family)
def test_inversion(family: Family) -> None:
    frame = intensity(draw_system(family, 11, np.random.default_rng(4)), centered(129))
    np.testing.assert_allclose(frame, frame[::-1, ::-1], rtol=1e-6, atol=1e-2)


def test_centered_holds_the_quadrant() -> None:
    system = draw_system("poly", 5, np.random.default_rng(5))
    np.testing.assert_allclose(
        intensity(system, centered(129))[64:, 64:], intensity(system, quadrant(65)), rtol=1e-6, atol=1e-2
    )


@pytest.mark.parametrize(("disk_number", "moment"), FIRST_MOMENTS.items())
def test_first_moment_of_published_frames(disk_number: int, moment: tuple[float, float]) -> None:
    rng = np.random.default_rng([0, disk_number])
    frames = [intensity(draw_system("constant_radius", disk_number, rng), published(513)) for _ in range(10)]
    mean, deviation = moment
    assert np.mean([first_moment(frame) for frame in frames]) == pytest.approx(mean, abs=deviation)


def test_published_frames(published_frames: dict[str, NDArray[Any]]) -> None:
    ranks = []
    for disk_number in range(2, 21):
        rng = np.random.default_rng([1, disk_number])
        ours = [
            intensity(draw_system("constant_radius", disk_number, rng), published(257)) for _ in range(60)
        ]
        moments = np.sort([first_moment(frame) for frame in ours])
        for frame in published_frames["frames"][published_frames["disk_number"] == disk_number]:
            theirs = frame.astype(float)
            # Their disks are drawn on a raster, whose area is right to some 0.1 %.
            assert theirs.max() == pytest.approx(ours[0].max(), rel=2e-3)
            assert theirs.sum() == pytest.approx(np.mean([f.sum() for f in ours]), rel=1e-2)
            ranks.append(np.searchsorted(moments, first_moment(theirs)) / len(ours))
    # The moments have long tails, so they are compared by rank: among ours, theirs lie anywhere.
    assert len(ranks) == 38
    assert kstest(ranks, "uniform").pvalue > 0.05


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0, 5),), "two positive integers"),
        (((5, 5), -1.0), "positive wave number"),
        (((5, 5), 0.1, (0.0, float("nan"))), "beam_center"),
    ],
)
def test_wrong_grids(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PixelGrid(*arguments)


def test_named_grids() -> None:
    assert grid_by_name("quadrant").shape == (257, 257)
    assert grid_by_name("published", 33) == published(33)
    with pytest.raises(ValueError, match="quadrant, centered, published"):
        grid_by_name("round")
    with pytest.raises(ValueError, match="odd size"):
        centered(256)
