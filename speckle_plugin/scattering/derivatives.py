"""The intensity of disks at chosen pixels, and its derivatives by everything that shapes it.

The structure solution fits with these. Row and column phases are tabulated, as in a frame's
intensity; form factors are tabulated over |k| with their slopes and read off by Hermite cubics.
Derivatives come in columns: x of all disks, y of all disks, r of all disks, row and column of the
beam centre.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import j0, j1

from speckle_plugin.scattering.compilation import compiled

__all__ = ["Pixels", "amplitude_at", "intensity_and_derivatives", "intensity_at", "lines_of"]

FINE_STEP, COARSE_STEP = 0.05, 0.2
"""Steps of k r between the nodes of the form factors' tables; errors of 2e-8 and 4e-6 of f at k = 0."""

FAST = {"contract", "reassoc", "nsz"}
LANES = 4


@dataclass(frozen=True, eq=False)
class Pixels:
    """Some pixels of a detector.

    Parameters
    ----------
    rows, columns : array of int, shape (m,)
        Indices of the pixels.
    k_step : float
        Wave number between neighbouring pixels.
    beam_center : tuple of float
        Row and column at which k = 0.
    """

    rows: NDArray[np.intp]
    columns: NDArray[np.intp]
    k_step: float
    beam_center: tuple[float, float]

    @property
    def k_rows(self) -> NDArray[np.float64]:
        """Component of k along the rows' index, shape (m,)."""
        return np.asarray((self.rows - self.beam_center[0]) * self.k_step)

    @property
    def k_columns(self) -> NDArray[np.float64]:
        """Component of k along the columns' index, shape (m,)."""
        return np.asarray((self.columns - self.beam_center[1]) * self.k_step)

    def moved(self, beam_center: tuple[float, float]) -> Pixels:
        """Give the same pixels for another beam centre."""
        return Pixels(self.rows, self.columns, self.k_step, beam_center)

    def part(self, which: NDArray[np.bool_] | NDArray[np.intp] | slice) -> Pixels:
        """Give some of the pixels."""
        return Pixels(self.rows[which], self.columns[which], self.k_step, self.beam_center)


def amplitude_at(
    pixels: Pixels, positions: NDArray[np.float64], radii: NDArray[np.float64], coarse: bool = False
) -> NDArray[np.complex128]:
    """Compute F(k) at some pixels, shape (m,).

    Parameters
    ----------
    pixels : Pixels
    positions : array, shape (n, 2)
    radii : array, shape (n,)
    coarse : bool
        Form factors good to 4e-6 of their value at k = 0, instead of 2e-8; faster for few pixels.
    """
    amplitude = np.empty(len(pixels.rows), np.complex128)
    _amplitudes(*_tables(pixels, positions, radii, coarse), amplitude)
    return amplitude


def intensity_at(
    pixels: Pixels, positions: NDArray[np.float64], radii: NDArray[np.float64], coarse: bool = False
) -> NDArray[np.float64]:
    """Compute ``|F(k)|^2`` at some pixels, shape (m,); parameters as for :func:`amplitude_at`."""
    amplitude = amplitude_at(pixels, positions, radii, coarse)
    return np.asarray(amplitude.real**2 + amplitude.imag**2)


def intensity_and_derivatives(
    pixels: Pixels,
    positions: NDArray[np.float64],
    radii: NDArray[np.float64],
    coarse: bool = False,
    center: bool = False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute ``|F(k)|^2`` at some pixels and its derivatives.

    Parameters
    ----------
    pixels, positions, radii, coarse
        See :func:`amplitude_at`.
    center : bool
        Add the derivatives by the row and the column of the beam centre.

    Returns
    -------
    intensity : array, shape (m,)
    derivatives : array, shape (m, 3 n) or (m, 3 n + 2)
    """
    intensity = np.empty(len(pixels.rows))
    derivatives = np.empty((len(pixels.rows), 3 * len(radii) + (2 if center else 0)))
    x, y, r = positions[:, 0].copy(), positions[:, 1].copy(), np.ascontiguousarray(radii)
    tables = _tables(pixels, positions, radii, coarse)
    _derivatives(*tables, x, y, r, pixels.k_step, intensity, derivatives, center)
    return intensity, derivatives


def _tables(pixels, positions, radii, coarse):  # type: ignore[no-untyped-def]
    """Everything that depends on one of row, column and |k| only."""
    n = len(radii)
    padded = -(-n // LANES) * LANES  # by disks that scatter nothing, for whole vectors
    x, y, r = np.zeros(padded), np.zeros(padded), np.full(padded, 1e-9)
    x[:n], y[:n], r[:n] = positions[:, 0], positions[:, 1], radii
    rows, columns, k_row, k_column, k_most = lines_of(pixels)
    step = (COARSE_STEP if coarse else FINE_STEP) / float(radii.max())
    form = _form_factors(r, step, int(k_most / step) + 2)
    return (
        rows, columns, k_row, k_column, step, *form,
        np.exp(-1j * k_row[:, None] * x), np.exp(-1j * k_column[:, None] * y),
    )  # fmt: skip


def lines_of(pixels: Pixels) -> tuple[Any, Any, NDArray[np.float64], NDArray[np.float64], float]:
    """Give row and column of each pixel, counted from the first, k along these, and the largest ``|k|``."""
    first_row, first_column = pixels.rows.min(), pixels.columns.min()
    k_row = (np.arange(first_row, pixels.rows.max() + 1) - pixels.beam_center[0]) * pixels.k_step
    k_column = (np.arange(first_column, pixels.columns.max() + 1) - pixels.beam_center[1]) * pixels.k_step
    k_most = math.hypot(float(np.abs(k_row).max()), float(np.abs(k_column).max()))
    return pixels.rows - first_row, pixels.columns - first_column, k_row, k_column, k_most


def _form_factors(radii, step, nodes):  # type: ignore[no-untyped-def]
    """Tabulate f = 2 pi r J1(kr) / k and g = df/dr = 2 pi r J0(kr) at k = m step, and slopes times step."""
    k = (np.arange(nodes) * step)[:, None]
    k[0] = 1e-9 * step
    q = k * radii
    zeroth, first = j0(q), j1(q)
    g = 2.0 * math.pi * radii * zeroth
    f = 2.0 * math.pi * radii * first / k
    return f, (radii * g - 2.0 * f) / k * step, g, -2.0 * math.pi * radii**2 * first * step


@compiled(inline="always")
def _hermite(at):  # type: ignore[no-untyped-def]
    """Give the node before a place in a table, and the weights of value and slope there and at the next."""
    cell = int(at)
    t = at - cell
    rest = (1.0 - t) * (1.0 - t)
    return cell, (1.0 + 2.0 * t) * rest, t * rest, t * t * (3.0 - 2.0 * t), t * t * (t - 1.0)


@compiled(fastmath=FAST)
def _amplitudes(  # type: ignore[no-untyped-def]
    rows, columns, k_row, k_column, step, f, f_slope, g, g_slope, row_phase, column_phase, amplitude
):
    for p in range(rows.size):
        kx, ky = k_row[rows[p]], k_column[columns[p]]
        k = math.sqrt(kx * kx + ky * ky)
        cell, h0, h1, h2, h3 = _hermite(k / step)
        f0, f1, s0, s1 = f[cell], f[cell + 1], f_slope[cell], f_slope[cell + 1]
        a, b = row_phase[rows[p]], column_phase[columns[p]]
        re = 0.0
        im = 0.0
        for d in range(f.shape[1]):
            form = h0 * f0[d] + h1 * s0[d] + h2 * f1[d] + h3 * s1[d]
            re += form * (a[d].real * b[d].real - a[d].imag * b[d].imag)
            im += form * (a[d].real * b[d].imag + a[d].imag * b[d].real)
        amplitude[p] = complex(re, im)


@compiled(fastmath=FAST)
def _derivatives(  # type: ignore[no-untyped-def]
    rows, columns, k_row, k_column, step, f, f_slope, g, g_slope,
    row_phase, column_phase, x, y, r, k_step, intensity, derivatives, center,
):  # fmt: skip
    # With F = sum f e and e = exp(-i k . x), the intensity F F* has the derivatives 2 Re(F* dF).
    lanes, n = f.shape[1], r.size
    re, im = np.empty(lanes), np.empty(lanes)
    fs, gs, along = np.empty(lanes), np.empty(lanes), np.empty(lanes)
    for p in range(rows.size):
        kx, ky = k_row[rows[p]], k_column[columns[p]]
        k = math.sqrt(kx * kx + ky * ky)
        cell, h0, h1, h2, h3 = _hermite(k / step)
        f0, f1, s0, s1 = f[cell], f[cell + 1], f_slope[cell], f_slope[cell + 1]
        a, b = row_phase[rows[p]], column_phase[columns[p]]
        total_re = 0.0
        total_im = 0.0
        for d in range(lanes):
            fs[d] = h0 * f0[d] + h1 * s0[d] + h2 * f1[d] + h3 * s1[d]
            re[d] = a[d].real * b[d].real - a[d].imag * b[d].imag
            im[d] = a[d].real * b[d].imag + a[d].imag * b[d].real
            total_re += fs[d] * re[d]
            total_im += fs[d] * im[d]
        intensity[p] = total_re * total_re + total_im * total_im
        g0, g1, t0, t1 = g[cell], g[cell + 1], g_slope[cell], g_slope[cell + 1]
        out = derivatives[p]
        for d in range(n):
            gs[d] = h0 * g0[d] + h1 * t0[d] + h2 * g1[d] + h3 * t1[d]
            along[d] = 2.0 * (total_re * re[d] + total_im * im[d])
            across = 2.0 * fs[d] * (total_re * im[d] - total_im * re[d])
            out[d] = kx * across
            out[n + d] = ky * across
            out[2 * n + d] = gs[d] * along[d]
        if center:
            # F depends on k by the form factors and by the phases; the centre moves k the other way.
            by_size = 0.0
            by_row = 0.0
            by_column = 0.0
            for d in range(n):
                by_size += (r[d] * gs[d] - 2.0 * fs[d]) * along[d]
                across = 2.0 * fs[d] * (total_re * im[d] - total_im * re[d])
                by_row += x[d] * across
                by_column += y[d] * across
            by_size /= max(k * k, 1e-30)
            out[3 * n] = -k_step * (by_size * kx + by_row)
            out[3 * n + 1] = -k_step * (by_size * ky + by_column)
