"""Derivatives by a disk's shape against the amplitude of deformed disks, integrated over their area."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from speckle_plugin.scattering import DEFORMATIONS, Pixels, derivatives_by_shape

POSITIONS = np.array([[100.0, 240.0], [300.0, -50.0]])
RADII = np.array([60.0, 35.0])
PIXELS = Pixels(np.array([0, 3, 20, 41, 7]), np.array([2, 0, 33, 5, 0]), 0.0015, (1.3, 0.4))
SMALL = 1e-3


def amplitude(
    radius: float, cosine: float = 0.0, sine: float = 0.0, harmonic: int = 0
) -> NDArray[np.complex128]:
    """Integrate a disk with its edge at ``radius (1 + cosine cos m phi + sine sin m phi)``."""
    nodes, weights = np.polynomial.legendre.leggauss(60)
    angle = np.arange(400) * 2.0 * np.pi / 400
    edge = radius * (1.0 + cosine * np.cos(harmonic * angle) + sine * np.sin(harmonic * angle))
    rho = 0.5 * edge[:, None] * (nodes + 1.0)
    area = 0.5 * edge[:, None] * weights * rho * (2.0 * np.pi / 400)
    x, y = rho * np.cos(angle)[:, None], rho * np.sin(angle)[:, None]
    waves = np.exp(-1j * (np.multiply.outer(PIXELS.k_rows, x) + np.multiply.outer(PIXELS.k_columns, y)))
    return np.asarray((waves * area).sum(axis=(1, 2)))


def intensity(first: NDArray[np.complex128]) -> NDArray[np.float64]:
    """Of the first disk's amplitude, and a second disk."""
    phases = [np.exp(-1j * (PIXELS.k_rows * x + PIXELS.k_columns * y)) for x, y in POSITIONS]
    return np.asarray(np.abs(first * phases[0] + amplitude(RADII[1]) * phases[1]) ** 2)


@pytest.mark.parametrize("harmonic", [2, 3, 4])
@pytest.mark.parametrize("sine", [False, True])
def test_a_deformed_edge(harmonic: int, sine: bool) -> None:
    forth, back = (
        intensity(amplitude(RADII[0], 0.0 if sine else e, e if sine else 0.0, harmonic))
        for e in (SMALL, -SMALL)
    )
    column = derivatives_by_shape(PIXELS, POSITIONS, RADII)[:, 2 * harmonic - 3 + sine]
    # Columns have no scale of their own: here they are half of the derivative, and of either sign.
    derivative = (forth - back) / (2.0 * SMALL)
    ratio = column @ derivative / (column @ column)
    assert abs(ratio) == pytest.approx(2.0, rel=1e-3)
    np.testing.assert_allclose(ratio * column, derivative, atol=2e-3 * np.abs(derivative).max())


def test_a_soft_edge() -> None:
    """A blurred disk loses a share of its amplitude that goes with k^2."""
    k_squared = PIXELS.k_rows**2 + PIXELS.k_columns**2
    sharp = amplitude(RADII[0])
    forth, back = (intensity(sharp * (1.0 + e * k_squared * RADII[0] ** 2)) for e in (SMALL, -SMALL))
    column = derivatives_by_shape(PIXELS, POSITIONS, RADII)[:, 0]
    np.testing.assert_allclose(column, (forth - back) / (2.0 * SMALL), atol=1e-3 * np.abs(column).max())


def test_columns_of_each_disk() -> None:
    """A disk that scatters nothing has no derivatives, and leaves those of the others."""
    both = derivatives_by_shape(PIXELS, POSITIONS, np.array([60.0, 1e-9]))
    alone = derivatives_by_shape(PIXELS, POSITIONS[:1], RADII[:1])
    assert both.shape == (5, 2 * DEFORMATIONS)
    np.testing.assert_allclose(both[:, :DEFORMATIONS], alone)
    assert np.abs(both[:, DEFORMATIONS:]).max() < 1e-9 * np.abs(alone).max()
