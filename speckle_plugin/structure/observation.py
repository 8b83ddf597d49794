"""What a frame tells: which pixels count, their values, their noise, and the radial mean."""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter1d

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.scattering import Pixels
from speckle_plugin.structure.settings import SolveSettings
from speckle_plugin.structure.targets import Amplitudes, Counts, Normal

__all__ = ["Observation", "Undecidable", "check_geometry", "observe"]

FEWEST_PIXELS = 400
"""With fewer unmasked pixels a frame is undecided."""

RINGS = 60
ROUNDING_VARIANCE = 1.0 / 12.0

Noise = Literal["none", "counts", "normal"]


class Undecidable(Exception):
    """A frame that does not tell its disks; the message says why."""


@dataclass(frozen=True, eq=False)
class Observation:
    """A frame, ready to be solved.

    Parameters
    ----------
    values : array, shape (rows, columns)
        Without the dark level; 0 where not known.
    known : array of bool, shape (rows, columns)
    k_step : float
    center : tuple of float
        Row and column of the beam, as told.
    noise : {"none", "counts", "normal"}
    variance : float
        Of the noise of one pixel beside that of counts.
    """

    values: NDArray[np.float64]
    known: NDArray[np.bool_]
    k_step: float
    center: tuple[float, float]
    noise: Noise
    variance: float

    @functools.cached_property
    def k(self) -> NDArray[np.float64]:
        """Length of k at every pixel."""
        rows, columns = (np.arange(n) - c for n, c in zip(self.values.shape, self.center, strict=True))
        return np.asarray(np.hypot(rows[:, None], columns[None, :]) * self.k_step)

    @functools.cached_property
    def rings(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Means of |k| and of the intensity over rings of pixels."""
        k, values = self.k[self.known], self.values[self.known]
        ring = np.minimum((k / k.max() * RINGS).astype(int), RINGS - 1)
        count = np.bincount(ring, minlength=RINGS)
        filled = count > 0
        means = [np.bincount(ring, of, minlength=RINGS)[filled] / count[filled] for of in (k, values)]
        return means[0], means[1]

    def radial_mean(self, k: NDArray[np.float64]) -> NDArray[np.float64]:
        """Give the mean intensity at some |k|, smoothed, and never 0."""
        ring_k, mean = self.rings
        logarithm = np.log(np.maximum(gaussian_filter1d(mean, 1.0), 1e-12 * mean.max()))
        return np.asarray(np.exp(np.interp(k, ring_k, logarithm)))

    @property
    def amplitude_variance(self) -> float:
        """Variance of a measured amplitude, about; 0 without noise."""
        return 0.25 if self.noise == "counts" else 0.0

    @functools.cached_property
    def _merged(self) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
        """Flat indices of unique pixels, summed values, multiplicities: Friedel mates are one measurement."""
        rows, columns = self.values.shape
        index = np.flatnonzero(self.known)
        twice = [2.0 * c for c in self.center]
        if any(abs(t - round(t)) > 1e-9 for t in twice):
            return index, self.values.ravel()[index], np.ones(len(index))
        i, j = np.divmod(index, columns)
        mate_i, mate_j = round(twice[0]) - i, round(twice[1]) - j
        inside = (mate_i >= 0) & (mate_i < rows) & (mate_j >= 0) & (mate_j < columns)
        mate = np.where(inside, mate_i * columns + mate_j, index)
        paired = self.known.ravel()[mate] & (mate != index)
        first = ~paired | (index < mate)
        index, mate, paired = index[first], mate[first], paired[first]
        values = self.values.ravel()
        if self.noise == "normal" and self.variance <= ROUNDING_VARIANCE:
            return index, values[index], np.ones(len(index))  # mates are rounded alike: they are one number
        return index, values[index] + np.where(paired, values[mate], 0.0), 1.0 + paired

    def pixels(self, k_most: float, merge: bool, most: int, rng: np.random.Generator) -> tuple[Any, ...]:
        """Choose pixels up to a |k|, at random where there are more than `most`.

        Returns
        -------
        pixels : Pixels
        values, multiplicity : array
        """
        if merge:
            index, values, multiplicity = self._merged
        else:
            index = np.flatnonzero(self.known)
            values, multiplicity = self.values.ravel()[index], np.ones(len(index))
        chosen = np.flatnonzero(self.k.ravel()[index] <= k_most)
        if len(chosen) > most:
            chosen = np.sort(rng.choice(chosen, most, replace=False))
        rows, columns = np.divmod(index[chosen], self.values.shape[1])
        return Pixels(rows, columns, self.k_step, self.center), values[chosen], multiplicity[chosen]

    def amplitudes(
        self, k_most: float, most: int, rng: np.random.Generator, merge: bool = True
    ) -> Amplitudes:
        """Give the target for a start: some pixels up to a |k|."""
        pixels, values, multiplicity = self.pixels(k_most, merge, most, rng)
        k = np.hypot(pixels.k_rows, pixels.k_columns)
        local = multiplicity * (self.radial_mean(k) + self.amplitude_variance)
        return Amplitudes(pixels, np.maximum(values, 0.0), multiplicity, 1.0 / np.sqrt(local))

    def likelihood(self, k_most: float, merge: bool) -> Counts | Normal:
        """Give the noise's own target, of all pixels up to a |k|."""
        pixels, values, multiplicity = self.pixels(k_most, merge, self.values.size, np.random.default_rng(0))
        kind = Counts if self.noise == "counts" else Normal
        return kind(pixels, values, multiplicity, self.variance)


def observe(frame: ArrayLike, geometry: FrameGeometry, k_step: float, settings: SolveSettings) -> Observation:
    """Check a frame, and find which of its pixels count.

    Raises
    ------
    ValueError
        If the input makes no sense.
    Undecidable
        If the frame does not hold enough.
    """
    raw = np.asarray(frame)
    _check(raw, geometry, k_step, settings)
    values = raw.astype(np.float64)
    known = np.isfinite(values)
    marked = marked_pixels(raw)
    if marked is not None:
        known &= ~marked
    integers = raw.dtype.kind in "iu"
    saturation = settings.saturation_level
    if saturation is None and integers:
        saturation = float(np.iinfo(raw.dtype).max)
    if saturation is not None:
        known &= values < saturation
    if settings.readout_noise == 0 or integers:
        known &= values >= 0.0
    known &= geometry.unmasked(settings.center_half_width)
    values = np.where(known, values - settings.dark_level, 0.0)
    if settings.point_spread > 0:  # what spreads in from beyond the frame is not known
        known &= _inner(raw.shape, math.ceil(4.0 * settings.point_spread))
        values = np.where(known, values, 0.0)
    _check_enough(values, known)
    return Observation(values, known, float(k_step), geometry.beam_center, *_noise(values[known], settings))


def _noise(values: NDArray[np.float64], settings: SolveSettings) -> tuple[Noise, float]:
    variance = settings.readout_noise**2
    noise = settings.noise
    if noise == "auto":
        whole = settings.readout_noise == 0 and bool(
            (values + settings.dark_level == np.rint(values + settings.dark_level)).all()
        )
        noise = "counts" if whole or settings.readout_noise > 0 else "none"
    if noise == "counts":
        return "counts", variance
    if noise == "rounded":
        return "normal", variance + ROUNDING_VARIANCE
    return ("normal", variance) if variance > 0 else ("none", 0.0)


def _inner(shape: tuple[int, ...], margin: int) -> NDArray[np.bool_]:
    inner = np.zeros(shape, bool)
    inner[margin : shape[0] - margin, margin : shape[1] - margin] = True
    return inner


def _check(raw: NDArray[Any], geometry: FrameGeometry, k_step: float, settings: SolveSettings) -> None:
    if raw.ndim != 2:
        raise ValueError(
            f"a frame has two dimensions (rows, columns), not {raw.ndim}: give one frame at a time"
        )
    if raw.shape != geometry.shape:
        raise ValueError(f"expected a frame of {geometry.shape} pixels, got one of {raw.shape}")
    if raw.dtype.kind not in "iuf":
        raise ValueError(f"expected a frame of real numbers, got {raw.dtype}")
    check_geometry(geometry, k_step, settings)


def check_geometry(geometry: FrameGeometry, k_step: float, settings: SolveSettings) -> None:
    """Check what is told of a detector, which holds for all of its frames.

    Raises
    ------
    ValueError
        If the wave number is none, or the beam is farther off the frame than the blocked centre.
    """
    if not (isinstance(k_step, int | float | np.number) and math.isfinite(k_step) and k_step > 0):
        raise ValueError(
            f"`k_step` must be a positive wave number per pixel, not {k_step!r}: it is 2 pi x pixel size / "
            "(wavelength x distance)"
        )
    margin, shape = max(settings.center_half_width, 0.0) + 1.0, geometry.shape
    if not all(-margin <= c <= n - 1 + margin for c, n in zip(geometry.beam_center, shape, strict=True)):
        raise ValueError(
            f"the beam centre {geometry.beam_center} lies off the frame of {shape} pixels: give its row and "
            "column on this frame"
        )


def _check_enough(values: NDArray[np.float64], known: NDArray[np.bool_]) -> None:
    count = int(known.sum())
    if count < FEWEST_PIXELS:
        raise Undecidable(f"only {count} pixels are left unmasked: {FEWEST_PIXELS} are needed")
    seen = values[known]
    if not seen.max() > 0:
        raise Undecidable("the frame is empty: no pixel holds a positive value")
    if seen.min() == seen.max():
        raise Undecidable(f"the frame is constant: all pixels read {seen.min():g}")
