"""What is missing: maps of where a further disk would explain what the model does not.

`difference_peaks` is the difference synthesis of crystallography, at low resolution and quick. `Score`
weighs all pixels by their noise, and tells what a disk of a given radius would gain at each place.

Source: Cochran, Acta Cryst. 4, 408 (1951); the gain is that of a score test (Rao, 1948).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.interpolate import RegularGridInterpolator
from scipy.ndimage import gaussian_filter

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.scattering import Pixels, amplitude_at
from speckle_plugin.structure.guinier import normalized_form
from speckle_plugin.structure.lattice import Lattice
from speckle_plugin.structure.model import Model, calculate
from speckle_plugin.structure.observation import Observation
from speckle_plugin.structure.peaks import UPSAMPLING, find_peaks, near, upsample

__all__ = ["Candidate", "best_further_disks", "difference_peaks", "hidden_radius"]

RADIUS_STEPS = np.geomspace(0.35, 1.8, 9)
"""Radii near that of a map, as parts of it."""

APART = 15.0
"""Candidates nearer to each other than this are one, in points of the finest map at least 2."""


PLACES = 5
"""Places along each axis where it is calculated what a point spread leaves of a disk."""

SMALL = 0.2
"""Radius of the disk for which it is, as a part of the mean radius."""


@dataclass(frozen=True)
class Candidate:
    """A disk that could be added.

    Parameters
    ----------
    gain : float
        Of twice the log-likelihood, if all else stays.
    x, y, r : float
    """

    gain: float
    x: float
    y: float
    r: float


def difference_peaks(
    lattice: Lattice,
    weight: NDArray[np.float64],
    model: Model,
    most: int,
    threshold: float,
    point_spread: float = 0.0,
) -> NDArray[np.float64]:
    """Find where density is missing.

    Parameters
    ----------
    lattice : Lattice
        Normalized and tapered.
    weight : array
        By which its amplitudes were multiplied.
    model : Model
    most, threshold
        As for :func:`speckle_plugin.structure.peaks.find_peaks`.
    point_spread : float
        Standard deviation of the blur, in points of the lattice.

    Returns
    -------
    array, shape (peaks, 2)
        Positions beside the model's disks.
    """
    n = len(lattice.k)
    index = np.fft.fftfreq(n, 1.0 / n).astype(int)
    i, j = np.nonzero(lattice.known)
    pixels = Pixels(index[i], index[j], lattice.step, (0.0, 0.0))
    waves = amplitude_at(pixels, model.positions, model.radii, coarse=True)
    size = np.maximum(np.abs(waves), 1e-30)
    measured = np.sqrt(lattice.intensity[i, j])
    if point_spread > 0:
        told = replace(model, center=(0.0, 0.0), background=0.0)
        expected = np.sqrt(calculate(told, pixels, np.ones(len(i)), point_spread, True)) * weight[i, j]
    else:
        expected = math.exp(0.5 * model.log_scale) * size * weight[i, j]
    missing = np.zeros((n, n), complex)
    missing[i, j] = (measured - expected) * waves / size
    density = upsample(scipy.fft.ifft2(missing).real)
    positions, _ = find_peaks(density, lattice.spacing / UPSAMPLING, most, threshold)
    return near(positions, model.positions, lattice.period)


class _Score:
    """Derivatives of the log-likelihood by the amplitude of a small further disk, on the frame's pixels."""

    def __init__(self, observation: Observation, model: Model, extent: float, point_spread: float) -> None:
        self.known = observation.known
        self.model = model
        self.k_step = observation.k_step
        rows, columns = np.nonzero(self.known)
        pixels = Pixels(rows, columns, observation.k_step, model.center)
        self.k = np.hypot(pixels.k_rows, pixels.k_columns)
        amplitude = amplitude_at(pixels, model.positions, model.radii)
        scale = math.exp(model.log_scale)
        size = np.abs(amplitude)
        expected = calculate(model, pixels, np.ones(len(rows)), point_spread, False)
        values = observation.values[self.known]
        if observation.noise == "none":
            # Amplitudes over the local mean: (measured - expected) dA, with dA = Re(F* dF) / |F|.
            local = np.sqrt(observation.radial_mean(self.k))
            off = (np.sqrt(np.maximum(values, 0.0)) - np.sqrt(expected)) / local
            slope = math.sqrt(scale) * amplitude / np.maximum(size, 1e-30) / local
            self.downhill = off * slope
            variance = 4.0 * np.maximum(expected, 1e-30) * local**2
        else:
            counts = observation.noise == "counts"
            variance = observation.variance + (np.maximum(expected, 1e-3) if counts else 0.0)
            slope = 2.0 * scale * amplitude / np.sqrt(variance)
            spread = _seen_by(self.known, (values - expected) / variance, point_spread)
            self.downhill = spread * 2.0 * scale * amplitude
        self.information = 0.5 * np.abs(slope) ** 2  # mean of Re(slope* e)^2 over phases
        self.sides = _reach(model, extent)
        self._kept: RegularGridInterpolator | None = None
        if point_spread > 0:
            axes = [
                m + np.linspace(-r, r, PLACES) if r > 0 else np.array([m, m + 1.0]) for m, r in self.sides
            ]
            shares = self._shares(
                np.asarray(np.conj(amplitude) * scale, complex), variance, point_spread, *axes
            )
            self._kept = RegularGridInterpolator(
                tuple(axes), np.log(shares), bounds_error=False, fill_value=None
            )

    def kept(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the share of a disk's information that the point spread leaves at places of a grid.

        A disk shows by its fringes with the others, and a blur takes those with far disks first. The share
        is calculated at some places, for a small disk, and interpolated.
        """
        if self._kept is None:
            return np.ones((len(x), len(y)))
        return np.asarray(np.exp(self._kept(tuple(np.meshgrid(x, y, indexing="ij")))))

    def _shares(
        self,
        waves: NDArray[np.complex128],
        variance: NDArray[np.float64],
        point_spread: float,
        x: NDArray[np.float64],
        y: NDArray[np.float64],
    ) -> NDArray[np.float64]:
        form, information = self.of_radius(SMALL * float(self.model.radii.mean()))
        image = np.zeros(self.known.shape, complex)
        image[self.known] = waves * form
        phases = [
            np.exp(-1j * np.outer(places, (np.arange(size) - c) * self.k_step))
            for places, size, c in zip((x, y), self.known.shape, self.model.center, strict=True)
        ]
        shares = np.empty((len(x), len(y)))
        for i, j in np.ndindex(shares.shape):
            slope = gaussian_filter(2.0 * (image * phases[0][i][:, None] * phases[1][j]).real, point_spread)
            shares[i, j] = (slope[self.known] ** 2 / variance).sum() / information
        return np.maximum(shares, 1e-6)

    def of_radius(self, radius: float) -> tuple[NDArray[np.float64], float]:
        """Form factors of a disk at the pixels, and the information of its amplitude without point spread."""
        form = math.pi * radius**2 * normalized_form(self.k * radius)
        return form, float((self.information * form**2).sum())

    def slopes(
        self, form: NDArray[np.float64], x: NDArray[np.float64], y: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Give derivatives by the amplitude of a disk at places of a grid, shape (x, y)."""
        waves = np.zeros(self.known.shape, complex)
        waves[self.known] = np.conj(self.downhill) * form
        told = zip(self.known.shape, self.model.center, strict=True)
        k = [(np.arange(size) - c) * self.k_step for size, c in told]
        with one_blas_thread():
            rows = np.exp(-1j * np.outer(x, k[0])) @ waves
            return np.asarray((rows @ np.exp(-1j * np.outer(k[1], y))).real)

    def nearby(self, candidate: Candidate, spacing: float, radii: tuple[float, ...]) -> Candidate:
        """Give the best place and radius near a candidate of a map with so much between its points.

        A disk's amplitude goes with its radius, so that it gains 2 slope - information.
        """
        found = []
        for radius in radii:
            form, information = self.of_radius(radius)
            place = np.array([candidate.x, candidate.y])
            for step in (spacing / 4.0, spacing / 16.0):
                x, y = (c + step * np.arange(-4.0, 5.0) for c in place)
                slopes = self.slopes(form, x, y)
                i, j = np.unravel_index(slopes.argmax(), slopes.shape)
                place = np.array([x[i], y[j]])
            information *= float(self.kept(place[:1], place[1:])[0, 0])
            slope = max(float(slopes[i, j]), 0.0)
            found.append((slope**2 / information, radius, place, slope / information))
        gain, near, place, share = max(found, key=lambda f: f[0])
        if 0.0 < share < RADIUS_STEPS[0] ** 2:  # a point: all radii have the same form, and gain alike
            near *= math.sqrt(share)
        best = (-math.inf, near)
        kept = float(self.kept(place[:1], place[1:])[0, 0])
        for radius in near * RADIUS_STEPS:
            form, information = self.of_radius(float(radius))
            slope = float(self.slopes(form, place[:1], place[1:])[0, 0])
            best = max(best, (2.0 * slope - information * kept, float(radius)))
        return Candidate(max(gain, candidate.gain), float(place[0]), float(place[1]), best[1])


def _seen_by(
    known: NDArray[np.bool_], values: NDArray[np.float64], point_spread: float
) -> NDArray[np.float64]:
    """Blur values of pixels: light of a further disk at one pixel spreads to the others."""
    if point_spread == 0:
        return values
    image = np.zeros(known.shape)
    image[known] = values
    return np.asarray(gaussian_filter(image, point_spread)[known])


def best_further_disks(
    observation: Observation,
    model: Model,
    radii: tuple[float, ...],
    extent: float,
    point_spread: float = 0.0,
    most: int = 3,
) -> list[Candidate]:
    """Find the disks that would gain most if one was added, outside of those that are there.

    Parameters
    ----------
    observation : Observation
    model : Model
    radii : tuple of float
        Radii to try.
    extent : float
        Of the sample: no disk is farther from the others than this allows.
    point_spread : float
        In pixels.
    most : int
        How many to give.
    """
    score = _Score(observation, model, extent, point_spread)
    rows, columns = np.nonzero(observation.known)
    shape = observation.known.shape
    n = scipy.fft.next_fast_len(2 * max(shape))
    # A small disk shows at large k, as a peak that is as narrow as these allow.
    reach_of_k = max(max(c, size - 1 - c) for c, size in zip(model.center, shape, strict=True))
    coarsest = min(0.25 * extent / 20.0, 1.6 / (reach_of_k * observation.k_step))
    while 2.0 * np.pi / (n * observation.k_step) > coarsest and n < 1000:
        n = scipy.fft.next_fast_len(2 * n)
    spacing = 2.0 * np.pi / (n * observation.k_step)
    period = n * spacing
    axes = [(np.arange(n) * spacing - m + period / 2.0) % period + m - period / 2.0 for m, _ in score.sides]
    near_enough = [np.flatnonzero(np.abs(a - m) <= r) for a, (m, r) in zip(axes, score.sides, strict=True)]
    if min(len(which) for which in near_enough) == 0:
        return []
    x, y = (a[which] for a, which in zip(axes, near_enough, strict=True))
    free = np.ones((len(x), len(y)), bool)
    for place, r in zip(model.positions, model.radii, strict=True):
        free &= np.hypot(x[:, None] - place[0], y[None, :] - place[1]) > r - 3.0
    kept = score.kept(x, y)
    phase = [np.exp(1j * observation.k_step * c * a) for c, a in zip(model.center, (x, y), strict=True)]
    found: list[Candidate] = []
    for radius in radii:
        form, information = score.of_radius(radius)
        waves = np.zeros((n, n), np.complex64)
        waves[rows, columns] = np.conj(score.downhill) * form
        # With k = (row - center) k_step the sum over pixels of (...) exp(-i k x) is a transform and a phase.
        slope = scipy.fft.fft2(waves)[np.ix_(*near_enough)]
        slope = (slope * phase[0][:, None] * phase[1][None, :]).real
        gain = np.where(free & (slope > 0), slope**2 / (information * kept), 0.0)
        reach_points = max(2, round(20.0 / spacing))
        for _ in range(2 * most):
            at = np.unravel_index(gain.argmax(), gain.shape)
            if gain[at] <= 0:
                break
            area = min(max(slope[at] / (information * kept[at]), 1e-4), 30.0)
            place = float(x[at[0]]), float(y[at[1]])
            found.append(Candidate(float(gain[at]), *place, radius * math.sqrt(area)))
            gain[
                max(at[0] - reach_points, 0) : at[0] + reach_points + 1,
                max(at[1] - reach_points, 0) : at[1] + reach_points + 1,
            ] = 0.0
    chosen: list[Candidate] = []
    for candidate in sorted(found, key=lambda c: -c.gain):
        if all(math.hypot(candidate.x - c.x, candidate.y - c.y) > APART for c in chosen):
            chosen.append(candidate)
    better = [score.nearby(candidate, spacing, radii) for candidate in chosen[:most]]
    return sorted(better, key=lambda c: -c.gain)


def hidden_radius(
    observation: Observation, model: Model, gain: float, extent: float, point_spread: float = 0.0
) -> float:
    """Find the radius of a further disk that would gain so much on average: smaller ones could hide.

    Through a point spread it is that of the place where a disk shows least.
    """
    score = _Score(observation, model, extent, point_spread)
    kept = float(score.kept(*(m + np.linspace(-r, r, PLACES) for m, r in score.sides)).min())
    low, high = 1e-3, float(model.radii.max())
    for _ in range(30):
        middle = math.sqrt(low * high)
        if score.of_radius(middle)[1] * kept < gain:
            low = middle
        else:
            high = middle
    return math.sqrt(low * high)


def _reach(model: Model, extent: float) -> list[tuple[float, float]]:
    """Give for each axis the middle of the sample, and how far from it the centre of a disk may be."""
    low = (model.positions - model.radii[:, None]).min(axis=0)
    high = (model.positions + model.radii[:, None]).max(axis=0)
    reach = np.maximum(extent - (high - low) / 2.0, 0.0)
    return [(float(m), float(r)) for m, r in zip((low + high) / 2.0, reach, strict=True)]
