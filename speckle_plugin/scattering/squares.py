"""Coherent scattering of turned squares: the intensity at each pixel's k."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.scattering.compilation import compiled
from speckle_plugin.scattering.grids import PixelGrid

__all__ = ["intensity_of_squares"]


def intensity_of_squares(
    positions: NDArray[np.float64],
    edges: NDArray[np.float64],
    angles: NDArray[np.float64],
    grid: PixelGrid,
    illumination: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute the scattered intensity of uniform squares on a pixel grid.

    Parameters
    ----------
    positions : array, shape (n, 2)
        Centres of the squares. Component 0 goes with the rows of the frame.
    edges, angles : array, shape (n,)
        Lengths of the edges; angles in radians of one edge to the rows' axis.
    grid : PixelGrid
        Where each pixel looks.
    illumination : array, shape (n,), optional
        Amplitude of the incoming wave at each square; 1 without.

    Returns
    -------
    array, shape `grid.shape`, float64
        ``|F(k)|^2`` in (units of the box)^4; at k = 0 it is ``(sum a_i^2)^2``.

    Notes
    -----
    A square of edge a has the amplitude ``a^2 sinc(u a / 2) sinc(v a / 2)``, u and v being the components
    of k along its edges and sinc(x) = sin(x) / x (the Fourier transform of a box in each direction).
    """
    weights = np.ones(edges.size) if illumination is None else np.asarray(illumination, np.float64)
    return _squares(positions, edges, angles, weights, grid.k_rows, grid.k_columns)


@compiled(inline="always")
def _sinc(x):  # type: ignore[no-untyped-def]
    return 1.0 - x * x / 6.0 if abs(x) < 1e-4 else math.sin(x) / x


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _squares(positions, edges, angles, weights, k_rows, k_columns):  # type: ignore[no-untyped-def]
    real = np.zeros((k_rows.size, k_columns.size))
    imaginary = np.zeros_like(real)
    for d in range(edges.size):
        half = 0.5 * edges[d]
        c, s = math.cos(angles[d]) * half, math.sin(angles[d]) * half
        area = weights[d] * edges[d] ** 2
        for i in range(k_rows.size):
            for j in range(k_columns.size):
                f = area * _sinc(k_rows[i] * c + k_columns[j] * s) * _sinc(k_columns[j] * c - k_rows[i] * s)
                phase = k_rows[i] * positions[d, 0] + k_columns[j] * positions[d, 1]
                real[i, j] += f * math.cos(phase)
                imaginary[i, j] -= f * math.sin(phase)
    return real**2 + imaginary**2
