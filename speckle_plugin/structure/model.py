"""The model of a frame: disks, scale, beam centre and background, and what they calculate for pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.scattering import Pixels, compiled, intensity_and_derivatives, intensity_at

__all__ = ["Model", "calculate", "calculate_with_derivatives"]

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
        around, taps, rows, columns = _surrounding(pixels, point_spread)
        whole = intensity_at(around, model.positions, model.radii, coarse)
        intensity = _blurred(whole.reshape(*_shape(around), 1), taps)[rows, columns, 0]
    else:
        intensity = intensity_at(pixels, model.positions, model.radii, coarse)
    return np.asarray(multiplicity * (math.exp(model.log_scale) * intensity + model.background))


def calculate_with_derivatives(
    model: Model, pixels: Pixels, multiplicity: NDArray[np.float64], point_spread: float, coarse: bool
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute the expected values of pixels and their derivatives.

    The derivatives' columns: x of all disks, y, r, logarithm of the scale, row and column of the beam
    centre, background. Parameters as for :func:`calculate`.

    Returns
    -------
    expected : array, shape (m,)
    derivatives : array, shape (m, 3 n + 4)
    """
    pixels, n = pixels.moved(model.center), model.number
    disks = model.positions, model.radii, coarse, True
    if point_spread > 0:
        around, taps, rows, columns = _surrounding(pixels, point_spread)
        whole, by_all = intensity_and_derivatives(around, *disks)
        shape = _shape(around)
        intensity = _blurred(whole.reshape(*shape, 1), taps)[rows, columns, 0]
        by_disks = _blurred(by_all.reshape(*shape, -1), taps)[rows, columns]
    else:
        intensity, by_disks = intensity_and_derivatives(pixels, *disks)
    scale = math.exp(model.log_scale)
    derivatives = np.empty((len(intensity), 3 * n + 4))
    derivatives[:, : 3 * n] = by_disks[:, : 3 * n]
    derivatives[:, 3 * n] = intensity
    derivatives[:, 3 * n + 1 : 3 * n + 3] = by_disks[:, 3 * n :]
    derivatives[:, : 3 * n + 3] *= (scale * multiplicity)[:, None]
    derivatives[:, 3 * n + 3] = multiplicity
    return multiplicity * (scale * intensity + model.background), derivatives


def _surrounding(pixels, point_spread):  # type: ignore[no-untyped-def]
    """Give the rectangle of pixels whose light spreads into the wanted ones, and where these are in it."""
    reach = math.ceil(TRUNCATE * point_spread)
    first_row, first_column = pixels.rows.min() - reach, pixels.columns.min() - reach
    rows = np.arange(first_row, pixels.rows.max() + reach + 1)
    columns = np.arange(first_column, pixels.columns.max() + reach + 1)
    grid = np.meshgrid(rows, columns, indexing="ij")
    around = Pixels(grid[0].ravel(), grid[1].ravel(), pixels.k_step, pixels.beam_center)
    taps = np.exp(-0.5 * (np.arange(-reach, reach + 1) / point_spread) ** 2)
    return around, taps / taps.sum(), pixels.rows - first_row, pixels.columns - first_column


def _shape(around: Pixels) -> tuple[int, int]:
    return int(np.ptp(around.rows)) + 1, int(np.ptp(around.columns)) + 1


@compiled(fastmath={"contract", "reassoc", "nsz"})
def _blurred(values, taps):  # type: ignore[no-untyped-def]
    """Convolve along rows and columns; each last index is an image of its own. Edges are left unblurred."""
    rows, columns, images = values.shape
    reach = taps.size // 2
    once = values.copy()
    for i in range(reach, rows - reach):
        for j in range(columns):
            once[i, j] = 0.0
            for t in range(taps.size):
                for m in range(images):
                    once[i, j, m] += taps[t] * values[i + t - reach, j, m]
    twice = once.copy()
    for i in range(rows):
        for j in range(reach, columns - reach):
            twice[i, j] = 0.0
            for t in range(taps.size):
                for m in range(images):
                    twice[i, j, m] += taps[t] * once[i, j + t - reach, m]
    return twice
