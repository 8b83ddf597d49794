"""The model of a frame: disks, scale, beam centre and background, and what they calculate for pixels."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.scattering import (
    Pixels,
    compiled,
    derivatives_by_shape,
    intensity_and_derivatives,
    intensity_at,
)

__all__ = ["Model", "calculate", "calculate_by_shape", "calculate_with_derivatives"]

TRUNCATE = 4.0
"""The point spread ends after so many standard deviations."""


@dataclass(frozen=True, eq=False)
class Model:
    """Everything that is fitted.

    Parameters
    ----------
    positions : array, shape (n, 2)
    radii : array, shape (n,)
    log_scale : float
        Natural logarithm of the counts for an intensity of 1.
    center : tuple of float
        Row and column of the beam.
    background : float
        Constant background, in counts.
    """

    positions: NDArray[np.float64]
    radii: NDArray[np.float64]
    log_scale: float
    center: tuple[float, float]
    background: float = 0.0

    @property
    def number(self) -> int:
        """How many disks there are."""
        return len(self.radii)

    def with_disks(self, positions: NDArray[np.float64], radii: NDArray[np.float64]) -> Model:
        """Give a model of other disks; scale, centre and background stay."""
        return replace(
            self, positions=np.asarray(positions, float).reshape(-1, 2), radii=np.asarray(radii, float)
        )

    def and_disks(self, disks: NDArray[np.float64]) -> Model:
        """Give a model with further disks, rows of (x, y, r)."""
        disks = np.asarray(disks, float).reshape(-1, 3)
        return self.with_disks(
            np.concatenate([self.positions, disks[:, :2]]), np.concatenate([self.radii, disks[:, 2]])
        )

    def without(self, which: int | NDArray[np.intp]) -> Model:
        """Give a model that lacks some disks."""
        return self.with_disks(np.delete(self.positions, which, 0), np.delete(self.radii, which))


def calculate(
    model: Model, pixels: Pixels, multiplicity: NDArray[np.float64], point_spread: float, coarse: bool
) -> NDArray[np.float64]:
    """Compute the expected values of pixels, shape (m,).

    Parameters
    ----------
    model : Model
    pixels : Pixels
    multiplicity : array, shape (m,)
        How many pixels of the frame were added up in each.
    point_spread : float
        Standard deviation of a Gaussian blur, in pixels.
    coarse : bool
        See :func:`speckle_plugin.scattering.intensity_at`.
    """
    pixels = pixels.moved(model.center)
    if point_spread > 0:
        around, spread = _surrounding(pixels, point_spread)
        intensity = spread(intensity_at(around, model.positions, model.radii, coarse)[:, None])[:, 0]
    else:
        intensity = intensity_at(pixels, model.positions, model.radii, coarse)
    return np.asarray(multiplicity * (math.exp(model.log_scale) * intensity + model.background))


def calculate_with_derivatives(
    model: Model,
    pixels: Pixels,
    multiplicity: NDArray[np.float64],
    point_spread: float,
    coarse: bool,
    center: bool,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the expected values of pixels and their derivatives.

    The derivatives' columns: x of all disks, y, r, logarithm of the scale, row and column of the beam
    centre (0 unless `center`), background. Parameters as for :func:`calculate`.

    Returns
    -------
    expected : array, shape (m,)
    derivatives : array, shape (m, 3 n + 4)
    """
    pixels, n = pixels.moved(model.center), model.number
    disks = model.positions, model.radii, coarse, center
    if point_spread > 0:
        around, spread = _surrounding(pixels, point_spread)
        intensity, by_disks = intensity_and_derivatives(around, *disks)
        intensity, by_disks = spread(intensity[:, None])[:, 0], spread(by_disks)
    else:
        intensity, by_disks = intensity_and_derivatives(pixels, *disks)
    scale = math.exp(model.log_scale)
    derivatives = np.empty((len(intensity), 3 * n + 4))
    derivatives[:, : 3 * n] = by_disks[:, : 3 * n]
    derivatives[:, 3 * n] = intensity
    derivatives[:, 3 * n + 1 : 3 * n + 3] = by_disks[:, 3 * n :] if center else 0.0
    derivatives[:, : 3 * n + 3] *= (scale * multiplicity)[:, None]
    derivatives[:, 3 * n + 3] = multiplicity
    return multiplicity * (scale * intensity + model.background), derivatives


def calculate_by_shape(
    model: Model, pixels: Pixels, multiplicity: NDArray[np.float64], point_spread: float
) -> NDArray[np.float64]:
    """Compute derivatives of the expected values by deformations of the disks, which the model lacks.

    Parameters as for :func:`calculate`.

    Returns
    -------
    array, shape (m, 7 n)
        Columns as in :func:`speckle_plugin.scattering.derivatives_by_shape`.
    """
    pixels, disks = pixels.moved(model.center), (model.positions, model.radii)
    if point_spread > 0:
        around, spread = _surrounding(pixels, point_spread)
        by_shape = spread(derivatives_by_shape(around, *disks))
    else:
        by_shape = derivatives_by_shape(pixels, *disks)
    return np.asarray(by_shape * (math.exp(model.log_scale) * multiplicity)[:, None])


Spread = Callable[[NDArray[np.float64]], NDArray[np.float64]]


def _surrounding(pixels: Pixels, point_spread: float) -> tuple[Pixels, Spread]:
    """Give the pixels whose light spreads into the wanted ones, and what spreads images of the former."""
    reach = math.ceil(TRUNCATE * point_spread)
    first_row, first_column = pixels.rows.min(), pixels.columns.min()
    rows = np.arange(first_row - reach, pixels.rows.max() + reach + 1)
    columns = np.arange(first_column - reach, pixels.columns.max() + reach + 1)
    grid = np.meshgrid(rows, columns, indexing="ij")
    around = Pixels(grid[0].ravel(), grid[1].ravel(), pixels.k_step, pixels.beam_center)
    taps = np.exp(-0.5 * (np.arange(reach + 1) / point_spread) ** 2)
    taps /= 2.0 * taps.sum() - taps[0]
    wanted = pixels.rows - first_row, pixels.columns - first_column

    def spread(images: NDArray[np.float64]) -> NDArray[np.float64]:
        blurred: NDArray[np.float64] = _blurred(images, len(columns), taps, *wanted)
        return blurred

    return around, spread


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _blurred(images, width, taps, rows, columns):  # type: ignore[no-untyped-def]
    """Convolve images, the columns of an array with a row for each pixel, and give the wanted pixels.

    The first tap is the middle one. Wanted pixels are counted from the first whose surroundings are there.
    """
    number, reach = images.shape[1], taps.size - 1
    lines = images.reshape(-1, width * number)
    line = np.empty(width * number)  # a row of all images, convolved along the columns
    wanted = np.empty((rows.size, number))
    at = -1
    for p in range(rows.size):
        if rows[p] != at:
            at = rows[p]
            middle = lines[at + reach]
            for x in range(line.size):
                line[x] = taps[0] * middle[x]
            for t in range(1, reach + 1):
                before, after = lines[at + reach - t], lines[at + reach + t]
                for x in range(line.size):
                    line[x] += taps[t] * (before[x] + after[x])
        first = (columns[p] + reach) * number
        out = wanted[p]
        for m in range(number):
            out[m] = taps[0] * line[first + m]
        for t in range(1, reach + 1):
            for m in range(number):
                out[m] += taps[t] * (line[first - t * number + m] + line[first + t * number + m])
    return wanted
