"""Coherent scattering of disks and spheres: the intensity at each pixel's k, without raster or FFT.

A frame is the squared magnitude of the sum over particles, each with its phase exp(-i k . x).
The phase is a product of a row and a column factor.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.scattering.compilation import compiled
from speckle_plugin.scattering.form_factor import (
    bessel_table,
    disk_amplitude,
    radial_cells,
    sphere_amplitude,
    squared_form_factor,
    table_length,
)
from speckle_plugin.scattering.grids import PixelGrid

__all__ = ["intensity_of_disks", "intensity_of_spheres"]

LANES = 4
"""Particles are padded to a multiple of so many, by some that scatter nothing."""


def intensity_of_disks(
    positions: NDArray[np.float64],
    radii: NDArray[np.float64],
    grid: PixelGrid,
    illumination: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute the scattered intensity of disks on a pixel grid.

    Parameters
    ----------
    positions : array, shape (n, 2)
        Centres of the disks. Component 0 goes with the rows of the frame.
    radii : array, shape (n,)
    grid : PixelGrid
        Where each pixel looks.
    illumination : array, shape (n,), optional
        Amplitude of the incoming wave at each disk; 1 without.

    Returns
    -------
    array, shape `grid.shape`, float64
        ``|F(k)|^2`` in (units of the box)^4; at k = 0 it is ``(pi sum r_i^2)^2``.

    Notes
    -----
    Source: the paper's section 2.
    """
    if np.ptp(radii) == 0.0 and illumination is None:
        form_factor = squared_form_factor(grid, float(radii[0]))
        return _equal_disks(positions, grid.k_rows, grid.k_columns, form_factor)
    reach = float(2.0 ** math.ceil(math.log2(radii.max() / 130.0))) * 130.0
    cells, weights, radial_k = radial_cells(grid, reach)
    table = bessel_table(table_length(radial_k[-1] * reach))
    form = _disk_forms(radii, radial_k, table, _padded(radii))
    if illumination is not None:
        form[:, : radii.size] *= illumination
    return _unequal(positions, form, grid.k_rows, grid.k_columns, cells, weights)


def intensity_of_spheres(
    positions: NDArray[np.float64],
    radii: NDArray[np.float64],
    grid: PixelGrid,
    illumination: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Compute the intensity that spheres scatter to small angles; their depth does not matter there.

    Parameters
    ----------
    positions : array, shape (n, 2)
        Centres of the spheres, seen along the beam. Component 0 goes with the rows of the frame.
    radii : array, shape (n,)
    grid : PixelGrid
        Where each pixel looks.
    illumination : array, shape (n,), optional
        Amplitude of the incoming wave at each sphere; 1 without.

    Returns
    -------
    array, shape `grid.shape`, float64
        ``|F(k)|^2`` in (units of the box)^6; at k = 0 it is ``(4/3 pi sum r_i^3)^2``.

    Notes
    -----
    Source of the form factor: Rayleigh, Proc. R. Soc. A 90, 219 (1914).
    """
    cells, weights, radial_k = radial_cells(grid, float(2.0 ** math.ceil(math.log2(radii.max()))))
    form = np.zeros((radial_k.size, _padded(radii)))
    form[:, : radii.size] = sphere_amplitude(np.abs(radial_k)[:, None], radii)
    if illumination is not None:
        form[:, : radii.size] *= illumination
    return _unequal(positions, form, grid.k_rows, grid.k_columns, cells, weights)


def _padded(radii: NDArray[np.float64]) -> int:
    return (radii.size + LANES - 1) // LANES * LANES


@compiled()
def phases(k, x, offset, real, imaginary):  # type: ignore[no-untyped-def]
    """exp(-i (k x + offset)) along evenly spaced k, by turning a unit vector step by step."""
    step = -(k[1] - k[0]) * x if k.size > 1 else 0.0
    c, s = math.cos(step), math.sin(step)
    re, im = math.cos(k[0] * x + offset), -math.sin(k[0] * x + offset)
    for i in range(k.size):
        real[i] = re
        imaginary[i] = im
        re, im = re * c - im * s, re * s + im * c


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _equal_disks(positions, k_rows, k_columns, form_factor):  # type: ignore[no-untyped-def]
    # With a + ib the phase of a row and of the middle column, and c + is that of the step from
    # there to another column, the column on the other side has c - is: both are made of the
    # same four products, which halves the work.
    # Four disks at a time keep the running sums in registers; padded by disks of phase factor 0.
    n, rows, columns = len(positions), k_rows.size, k_columns.size
    padded = (n + 3) // 4 * 4
    half = columns // 2
    middle = 0.5 * (k_columns[0] + k_columns[-1])
    away = k_columns[half:] - middle
    row_re, row_im = np.zeros((padded, rows)), np.zeros((padded, rows))
    col_re, col_im = np.zeros((padded, away.size)), np.zeros((padded, away.size))
    for d in range(n):
        phases(k_rows, positions[d, 0], middle * positions[d, 1], row_re[d], row_im[d])
        phases(away, positions[d, 1], 0.0, col_re[d], col_im[d])

    frame = np.empty((rows, columns))
    ac, bs = np.empty(away.size), np.empty(away.size)
    bc, as_ = np.empty(away.size), np.empty(away.size)
    for i in range(rows):
        ac[:] = bs[:] = bc[:] = as_[:] = 0.0
        for d in range(0, padded, 4):
            a0, a1, a2, a3 = row_re[d, i], row_re[d + 1, i], row_re[d + 2, i], row_re[d + 3, i]
            b0, b1, b2, b3 = row_im[d, i], row_im[d + 1, i], row_im[d + 2, i], row_im[d + 3, i]
            c0, c1, c2, c3 = col_re[d], col_re[d + 1], col_re[d + 2], col_re[d + 3]
            s0, s1, s2, s3 = col_im[d], col_im[d + 1], col_im[d + 2], col_im[d + 3]
            for j in range(away.size):
                ac[j] += a0 * c0[j] + a1 * c1[j] + a2 * c2[j] + a3 * c3[j]
                bs[j] += b0 * s0[j] + b1 * s1[j] + b2 * s2[j] + b3 * s3[j]
                bc[j] += b0 * c0[j] + b1 * c1[j] + b2 * c2[j] + b3 * c3[j]
                as_[j] += a0 * s0[j] + a1 * s1[j] + a2 * s2[j] + a3 * s3[j]
        for j in range(away.size):
            re, im = ac[j] - bs[j], bc[j] + as_[j]
            frame[i, half + j] = form_factor[i, half + j] * (re * re + im * im)
        for j in range(half):
            m = away.size - 1 - j
            re, im = ac[m] + bs[m], bc[m] - as_[m]
            frame[i, j] = form_factor[i, j] * (re * re + im * im)
    return frame


@compiled()
def _disk_forms(radii, radial_k, table, padded):  # type: ignore[no-untyped-def]
    form = np.zeros((radial_k.size, padded))
    for d in range(radii.size):
        for m in range(radial_k.size):
            form[m, d] = disk_amplitude(radial_k[m], radii[d], table)
    return form


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _unequal(positions, form, k_rows, k_columns, cells, weights):  # type: ignore[no-untyped-def]
    # The innermost loop runs over particles, padded to whole vectors by some that scatter nothing.
    n, rows, columns = len(positions), k_rows.size, k_columns.size
    padded = form.shape[1]
    row_re, row_im = np.zeros((rows, padded)), np.zeros((rows, padded))
    col_re, col_im = np.zeros((columns, padded)), np.zeros((columns, padded))
    for d in range(n):
        phases(k_rows, positions[d, 0], 0.0, row_re[:, d], row_im[:, d])
        phases(k_columns, positions[d, 1], 0.0, col_re[:, d], col_im[:, d])

    frame = np.empty((rows, columns))
    for i in range(rows):
        a, b = row_re[i], row_im[i]
        for j in range(columns):
            w0, w1, w2, w3 = weights[i, j, 0], weights[i, j, 1], weights[i, j, 2], weights[i, j, 3]
            m = cells[i, j]
            f0, f1, f2, f3 = form[m], form[m + 1], form[m + 2], form[m + 3]
            c, s = col_re[j], col_im[j]
            re = 0.0
            im = 0.0
            for d in range(padded):
                f = w0 * f0[d] + w1 * f1[d] + w2 * f2[d] + w3 * f3[d]
                re += f * (a[d] * c[d] - b[d] * s[d])
                im += f * (a[d] * s[d] + b[d] * c[d])
            frame[i, j] = re * re + im * im
    return frame
