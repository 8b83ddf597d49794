"""How the intensity changes where disks are a little off their shape: the derivatives by which that shows.

A disk whose edge is at ``r (1 + e cos m (phi - a))`` has, to first order in e, the further amplitude
``2 pi r^2 e (-i)^m J_m(kr) cos m (phi_k - a)``, and one whose edge is blurred loses a share of its amplitude
that goes with k^2. Ellipses are of m = 2, triangles of m = 3, squares of m = 4; spheres have a soft edge.

Source: the Jacobi-Anger expansion (Abramowitz and Stegun, 9.1.44) of the wave from a thin layer at the edge.
"""

from __future__ import annotations

import functools
import math

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1, jv

from speckle_plugin.scattering.compilation import compiled
from speckle_plugin.scattering.derivatives import Pixels, lines_of

__all__ = ["DEFORMATIONS", "derivatives_by_shape"]

HARMONICS = (2, 3, 4)
"""Of the edge. The zeroth is the radius, the first a shift. The compiled function below knows these three."""

DEFORMATIONS = 1 + 2 * len(HARMONICS)
"""Of each disk: the softness of its edge, and cosine and sine of each harmonic."""

TABLE_STEP = 0.02
"""Of k r. Bessel functions are read off linearly, which is right to 1e-4: far enough for a direction."""


def derivatives_by_shape(
    pixels: Pixels, positions: NDArray[np.float64], radii: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Compute the derivatives of ``|F(k)|^2`` by what deforms each disk.

    Parameters
    ----------
    pixels : Pixels
    positions : array, shape (n, 2)
    radii : array, shape (n,)

    Returns
    -------
    array, shape (m, 7 n)
        For each disk :data:`DEFORMATIONS`.
    """
    row_of, column_of, k_row, k_column, k_most = lines_of(pixels)
    table = _table(2 ** math.ceil(math.log2(k_most * float(radii.max()) / TABLE_STEP + 3.0)))
    derivatives = np.empty((len(row_of), DEFORMATIONS * len(radii)))
    _by_shape(
        row_of, column_of, k_row, k_column, np.ascontiguousarray(radii, np.float64), table,
        np.exp(-1j * k_row[:, None] * positions[:, 0]), np.exp(-1j * k_column[:, None] * positions[:, 1]),
        derivatives,
    )  # fmt: skip
    return derivatives


@functools.lru_cache(maxsize=4)
def _table(nodes: int) -> NDArray[np.float64]:
    """Tabulate against k r: a disk's form factor, that times (k r)^2, and Bessel functions."""
    q = np.arange(nodes) * TABLE_STEP
    form = 2.0 * j1(q + 1e-9) / (q + 1e-9)
    return np.stack([form, form * q**2, *(jv(m, q) for m in HARMONICS)], axis=1)


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _by_shape(  # type: ignore[no-untyped-def]
    row_of, column_of, k_row, k_column, radii, table, row_phase, column_phase, derivatives
):
    n = radii.size
    re, im = np.empty(n), np.empty(n)
    values = np.empty((n, table.shape[1]))
    for p in range(row_of.size):
        kx, ky = k_row[row_of[p]], k_column[column_of[p]]
        k = math.sqrt(kx * kx + ky * ky)
        a, b = row_phase[row_of[p]], column_phase[column_of[p]]
        total_re = 0.0
        total_im = 0.0
        for d in range(n):
            area = math.pi * radii[d] * radii[d]
            re[d] = area * (a[d].real * b[d].real - a[d].imag * b[d].imag)
            im[d] = area * (a[d].real * b[d].imag + a[d].imag * b[d].real)
            at = k * radii[d] / TABLE_STEP
            cell = int(at)
            t = at - cell
            for m in range(table.shape[1]):
                values[d, m] = (1.0 - t) * table[cell, m] + t * table[cell + 1, m]
            total_re += values[d, 0] * re[d]
            total_im += values[d, 0] * im[d]
        # exp(i phi) and its powers, for the cosines and sines of the harmonics.
        c1, s1 = (kx / k, ky / k) if k > 0.0 else (1.0, 0.0)
        c2, s2 = c1 * c1 - s1 * s1, 2.0 * c1 * s1
        c3, s3 = c1 * c2 - s1 * s2, c1 * s2 + s1 * c2
        c4, s4 = c2 * c2 - s2 * s2, 2.0 * c2 * s2
        out = derivatives[p]
        for d in range(n):
            along = 2.0 * (total_re * re[d] + total_im * im[d])
            across = 2.0 * (total_re * im[d] - total_im * re[d])
            first = DEFORMATIONS * d
            out[first] = values[d, 1] * along
            out[first + 1], out[first + 2] = values[d, 2] * along * c2, values[d, 2] * along * s2
            out[first + 3], out[first + 4] = values[d, 3] * across * c3, values[d, 3] * across * s3
            out[first + 5], out[first + 6] = values[d, 4] * along * c4, values[d, 4] * along * s4
