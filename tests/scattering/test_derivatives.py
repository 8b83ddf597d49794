"""Intensities at chosen pixels against whole frames, and derivatives against differences."""

from __future__ import annotations

import numpy as np
import pytest

from speckle_plugin.scattering import (
    PITCH,
    PixelGrid,
    Pixels,
    amplitude_at,
    intensity_and_derivatives,
    intensity_at,
    intensity_of_disks,
)

POSITIONS = np.array([[100.0, 900.0], [1500.0, 300.0], [700.0, 1800.0], [20.0, 30.0], [1000.0, 1000.0]])
RADII = np.array([61.0, 40.0, 12.0, 3.0, 25.0])
CENTER = (10.3, 31.6)


def some_pixels(center: tuple[float, float] = CENTER) -> Pixels:
    rows, columns = np.random.default_rng(0).integers(0, 64, (2, 700))
    return Pixels(rows, columns, PITCH, center)


@pytest.mark.parametrize(("coarse", "error"), [(False, 1e-7), (True, 2e-5)])
def test_intensities_are_those_of_the_frame(coarse: bool, error: float) -> None:
    frame = intensity_of_disks(POSITIONS, RADII, PixelGrid((64, 64), PITCH, CENTER))
    pixels = some_pixels()
    at_pixels = intensity_at(pixels, POSITIONS, RADII, coarse)
    expected = frame[pixels.rows, pixels.columns]
    np.testing.assert_allclose(at_pixels, expected, rtol=0, atol=error * expected.max())
    np.testing.assert_allclose(np.abs(amplitude_at(pixels, POSITIONS, RADII, coarse)) ** 2, at_pixels)


@pytest.mark.parametrize("disk", range(len(RADII)))
@pytest.mark.parametrize("kind", ["x", "y", "r"])
def test_derivatives_by_disks(disk: int, kind: str) -> None:
    _, derivatives = intensity_and_derivatives(some_pixels(), POSITIONS, RADII)
    step = 1e-2

    def moved(by: float) -> np.ndarray:
        positions, radii = POSITIONS.copy(), RADII.copy()
        if kind == "r":
            radii[disk] += by
        else:
            positions[disk, "xy".index(kind)] += by
        return intensity_at(some_pixels(), positions, radii)

    difference = (moved(step) - moved(-step)) / (2.0 * step)
    column = derivatives[:, "xyr".index(kind) * len(RADII) + disk]
    np.testing.assert_allclose(column, difference, rtol=0, atol=2e-4 * np.abs(difference).max())


@pytest.mark.parametrize("axis", [0, 1])
def test_derivatives_by_the_beam_center(axis: int) -> None:
    _, derivatives = intensity_and_derivatives(some_pixels(), POSITIONS, RADII, center=True)
    step = np.eye(2)[axis] * 1e-3
    high, low = (
        intensity_at(some_pixels((CENTER[0] + s * step[0], CENTER[1] + s * step[1])), POSITIONS, RADII)
        for s in (1.0, -1.0)
    )
    difference = (high - low) / 2e-3
    column = derivatives[:, 3 * len(RADII) + axis]
    np.testing.assert_allclose(column, difference, rtol=0, atol=1e-4 * np.abs(difference).max())


def test_one_disk_at_the_beam() -> None:
    pixels = Pixels(np.array([0]), np.array([0]), PITCH, (0.0, 0.0))
    expected = (np.pi * 50.0**2) ** 2
    assert intensity_at(pixels, np.array([[3.0, 4.0]]), np.array([50.0])) == pytest.approx(expected)
