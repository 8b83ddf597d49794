"""The form factors of disks and spheres: their amplitudes against |k|.

A uniform disk of radius r has the amplitude 2 pi r^2 J1(kr) / (kr). J1 is read off a table fine
enough that intensities are right to better than 1e-7 of their local size. A uniform sphere has
4 pi r^3 (sin u - u cos u) / u^3 with u = kr.

Source: Pedersen, Adv. Colloid Interface Sci. 70, 171 (1997).
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from speckle_plugin.scattering.compilation import compiled
from speckle_plugin.scattering.grids import PixelGrid

__all__ = [
    "bessel_table",
    "disk_amplitude",
    "radial_cells",
    "sphere_amplitude",
    "squared_form_factor",
    "table_length",
]

# J1(q)/q is tabulated once in steps of TABLE_STEP; from it each disk's amplitude is
# tabulated over |k| in steps of RADIAL_STEP / (largest radius); both by cubics.
TABLE_STEP = 0.004
RADIAL_STEP = 0.02

SERIES_BELOW = 1e-2
"""Arguments below which the amplitude of a sphere is that of its series, whose next term is u^4 / 840."""


@functools.lru_cache(maxsize=32)
def squared_form_factor(grid: PixelGrid, radius: float) -> NDArray[np.float64]:
    """Squared amplitude of one disk at every pixel."""
    q = grid.k_magnitude * radius
    at_zero = q == 0.0
    q[at_zero] = 1.0
    return (2.0 * math.pi * radius**2 * np.where(at_zero, 0.5, j1(q) / q)) ** 2


def sphere_amplitude(k: NDArray[np.float64], radius: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitude of uniform spheres, of the shape to which `k` and `radius` broadcast; 4/3 pi r^3 at k = 0."""
    u = k * radius
    small = u < SERIES_BELOW
    safe = np.where(small, 1.0, u)
    shape = np.where(small, (1.0 - u**2 / 10.0) / 3.0, (np.sin(safe) - safe * np.cos(safe)) / safe**3)
    return np.asarray(4.0 * np.pi * radius**3 * shape)


def table_length(largest_argument: float) -> int:
    """Round up, so that one table serves many grids."""
    return int(2 ** math.ceil(math.log2(largest_argument / TABLE_STEP + 8)))


@functools.lru_cache(maxsize=8)
def bessel_table(length: int) -> NDArray[np.float64]:
    """J1(q)/q at q = (m - 1) TABLE_STEP; the first entry, at -TABLE_STEP, serves the cubic at 0."""
    q = (np.arange(length) - 1) * TABLE_STEP
    q[1] = 1.0
    table = j1(q) / q
    table[1] = 0.5
    return table


@functools.lru_cache(maxsize=8)
def radial_cells(
    grid: PixelGrid, reach: float
) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.float64]]:
    """For each pixel the first of four radial nodes around its |k|, and their cubic weights."""
    step = RADIAL_STEP / reach
    k = grid.k_magnitude / step + 1.0
    cell = np.floor(k).astype(np.int32)
    t = k - cell
    weights = np.stack(_cubic_weights(t), axis=-1)
    radial_k = (np.arange(cell.max() + 3) - 1) * step
    return cell - 1, weights, radial_k


def _cubic_weights(t):  # type: ignore[no-untyped-def]
    """Lagrange weights at t in [0, 1) for nodes at -1, 0, 1, 2."""
    return (
        -t * (t - 1.0) * (t - 2.0) / 6.0,
        (t + 1.0) * (t - 1.0) * (t - 2.0) / 2.0,
        -(t + 1.0) * t * (t - 2.0) / 2.0,
        (t + 1.0) * t * (t - 1.0) / 6.0,
    )


_cubic_weights_jit = compiled(inline="always")(_cubic_weights)


@compiled()
def disk_amplitude(k, radius, table):  # type: ignore[no-untyped-def]
    """2 pi r^2 J1(kr) / (kr), from the table by a cubic."""
    q = abs(k) * radius / TABLE_STEP + 1.0
    cell = int(q)
    w0, w1, w2, w3 = _cubic_weights_jit(q - cell)
    g = w0 * table[cell - 1] + w1 * table[cell] + w2 * table[cell + 1] + w3 * table[cell + 2]
    return 2.0 * math.pi * radius * radius * g
