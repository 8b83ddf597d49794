"""What is minimised: distances of amplitudes for a start, the deviance of the noise for the answer.

Each target holds pixels with their measured values, and says for expected values how far they are
(``loss``) and how a step of Gauss and Newton weighs each pixel (``linearized``).
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, xlogy  # scipy.stats takes most of a second to import

from speckle_plugin.scattering import Pixels

__all__ = ["Amplitudes", "Counts", "Normal", "Target", "z_of_chi_squared"]

SMALLEST = 1e-3
"""Expected counts are at least this, lest a photon where none is expected cost infinitely much."""


RINGS = 20
"""Into which the pixels are divided to see whether their sums are right."""


class Target(Protocol):
    """Pixels, their values, and a distance."""

    @property
    def pixels(self) -> Pixels: ...  # noqa: D102
    @property
    def values(self) -> NDArray[np.float64]: ...  # noqa: D102
    @property
    def multiplicity(self) -> NDArray[np.float64]: ...  # noqa: D102

    def loss(self, expected: NDArray[np.float64]) -> float:
        """Give the distance of expected values from the measured ones."""

    def linearized(
        self, expected: NDArray[np.float64], which: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Give for some pixels residuals, and what derivatives of expected values are multiplied by."""


@dataclass(frozen=True, eq=False)
class Amplitudes:
    """Amplitudes, each over the root of the radial mean: bearable far from the answer.

    Parameters
    ----------
    pixels : Pixels
    values : array, shape (m,)
        Intensities, 0 or more.
    multiplicity : array, shape (m,)
    weights : array, shape (m,)
        1 over the local amplitude.
    """

    pixels: Pixels
    values: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    weights: NDArray[np.float64]

    @functools.cached_property
    def weighted(self) -> NDArray[np.float64]:
        """Measured amplitudes over the local ones, shape (m,)."""
        return np.asarray(self.weights * np.sqrt(self.values))

    @functools.cached_property
    def norm(self) -> float:
        """Sum of the squares of the weighted amplitudes: the loss of a frame of zeros."""
        return float(np.square(self.weighted).sum())

    def loss(self, expected: NDArray[np.float64]) -> float:
        """See :class:`Target`."""
        difference = self.weights * np.sqrt(np.maximum(expected, 0.0)) - self.weighted
        return float(np.square(difference).sum())  # not by BLAS: see `blas_threads`

    def residual(self, loss: float) -> float:
        """Give the loss as a share of the amplitudes: 0 is perfect, about 0.5 is chance."""
        return math.sqrt(loss / self.norm)

    def linearized(
        self, expected: NDArray[np.float64], which: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :class:`Target`."""
        amplitude = np.sqrt(np.maximum(expected, 1e-30))
        weights = self.weights[which]
        return self.weighted[which] - weights * amplitude, weights / (2.0 * amplitude)


@dataclass(frozen=True, eq=False)
class Counts:
    """Photons, with read-out noise as further photons of known mean (a shifted Poisson distribution).

    Parameters
    ----------
    pixels, values, multiplicity
        As for :class:`Amplitudes`.
    variance : float
        Of the read-out noise of one pixel, in counts squared.
    """

    pixels: Pixels
    values: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    variance: float = 0.0

    @functools.cached_property
    def _shift(self) -> NDArray[np.float64]:
        return self.variance * self.multiplicity

    @functools.cached_property
    def _shifted(self) -> NDArray[np.float64]:
        return np.maximum(self.values + self._shift, 0.0)

    @functools.cached_property
    def _saturated(self) -> float:
        n = self._shifted
        return float((np.where(n > 0, n * np.log(np.maximum(n, 1e-9)), 0.0) - n).sum())

    def loss(self, expected: NDArray[np.float64]) -> float:
        """See :class:`Target`; the deviance."""
        mean = np.maximum(expected, SMALLEST) + self._shift
        return 2.0 * (self._saturated - float((self._shifted * np.log(mean)).sum()) + float(mean.sum()))

    def linearized(
        self, expected: NDArray[np.float64], which: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :class:`Target`."""
        mean = np.maximum(expected, SMALLEST) + self._shift[which]
        weights = 1.0 / np.sqrt(mean)
        return (self._shifted[which] - mean) * weights, weights

    def z_score(self, expected: NDArray[np.float64]) -> float:
        """Give the deviance beyond its mean, in standard deviations."""
        mean = np.maximum(expected, SMALLEST) + self._shift
        if self.variance > 0:  # of Pearson's chi squared: its moments do not need the noise's whole shape
            squares = np.square(self.values - expected) / mean
            variance = (2.0 + expected / mean**2).sum()
            return float((squares.sum() - len(mean)) / math.sqrt(variance))
        moments = _moments_of_the_deviance()
        of_mean, of_variance = (np.interp(np.log(mean), moments[0], m) for m in moments[1:])
        return float((self.loss(expected) - of_mean.sum()) / math.sqrt(of_variance.sum()))

    def rings_z_score(self, expected: NDArray[np.float64]) -> float:
        """Give how far the sums over rings are from what is expected, in standard deviations.

        Where less than one photon is expected the deviance does not tell that it is too many: pixels
        without photons have less of it than usual. Their sums do, of :data:`RINGS` rings with as many photons
        each.
        """
        mean = np.maximum(expected, SMALLEST) + self._shift
        order = np.argsort(np.hypot(self.pixels.k_rows, self.pixels.k_columns), kind="stable")
        summed = np.cumsum(mean[order])
        ends = np.unique(np.searchsorted(summed, np.linspace(0.0, summed[-1], RINGS + 1)[1:-1]))
        starts = np.concatenate([[0], ends[(ends > 0) & (ends < len(mean))]])
        differences = np.add.reduceat((self.values + self._shift - mean)[order], starts)
        count = len(starts)
        chi_squared = (differences**2 / np.add.reduceat(mean[order], starts)).sum()
        return z_of_chi_squared(float(chi_squared), count)


@dataclass(frozen=True, eq=False)
class Normal:
    """Values with normal noise of known standard deviation: read-out noise, rounding.

    Parameters
    ----------
    pixels, values, multiplicity
        As for :class:`Amplitudes`.
    variance : float
        Of one pixel.
    """

    pixels: Pixels
    values: NDArray[np.float64]
    multiplicity: NDArray[np.float64]
    variance: float

    @functools.cached_property
    def _weights(self) -> NDArray[np.float64]:
        return 1.0 / np.sqrt(self.variance * self.multiplicity)

    def loss(self, expected: NDArray[np.float64]) -> float:
        """See :class:`Target`; chi squared."""
        return float(np.square((self.values - expected) * self._weights).sum())

    def linearized(
        self, expected: NDArray[np.float64], which: slice
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """See :class:`Target`."""
        return (self.values[which] - expected) * self._weights[which], self._weights[which]

    def z_score(self, expected: NDArray[np.float64]) -> float:
        """Give chi squared beyond its mean, in standard deviations."""
        return (self.loss(expected) - len(expected)) / math.sqrt(2.0 * len(expected))


def z_of_chi_squared(chi_squared: float, degrees: int) -> float:
    """Give chi squared of some degrees of freedom as a normal variable (Wilson and Hilferty 1931)."""
    spread = 2.0 / (9.0 * degrees)
    return ((chi_squared / degrees) ** (1.0 / 3.0) - 1.0 + spread) / math.sqrt(spread)


@functools.cache
def _moments_of_the_deviance() -> tuple[NDArray[np.float64], ...]:
    """Logarithms of Poisson means, with mean and variance of the deviance of one pixel at each."""
    means = np.geomspace(SMALLEST, 300.0, 260)
    first, second = np.empty_like(means), np.empty_like(means)
    for index, mean in enumerate(means):
        n = np.arange(int(mean + 12.0 * math.sqrt(mean) + 25.0))
        deviance = 2.0 * (np.where(n > 0, n * np.log(np.maximum(n, 1) / mean), 0.0) - n + mean)
        probability = np.exp(xlogy(n, mean) - gammaln(n + 1.0) - mean)
        first[index] = probability @ deviance
        second[index] = probability @ deviance**2 - first[index] ** 2
    return np.log(means), first, second
