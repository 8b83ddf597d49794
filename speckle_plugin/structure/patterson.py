"""The Patterson map: the transform of the intensities, with a peak at the distance of each pair of disks.

It is positive, and that fills in intensities that were not measured (a blocked centre, a quadrant). It
is real, and that tells where the beam is. A point spread multiplies it by a known function.

Sources: Patterson, Phys. Rev. 46, 372 (1934); completion by positivity after Karle and Hauptman, Acta
Cryst. 17, 392 (1964), and, as iterated projections, Fienup, Appl. Opt. 21, 2758 (1982).
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from scipy.optimize import minimize

from speckle_plugin.structure.guinier import normalized_form
from speckle_plugin.structure.lattice import Lattice
from speckle_plugin.structure.observation import Observation

__all__ = ["complete", "find_center", "find_extent", "normalize", "restore"]

LEAN = 0.01
"""Of two beam centres the nearer one is taken: one pair of disks tells only one direction of it."""

RESTORING = 0.3
"""The first threshold of restoring, in standard deviations of the blurred map."""


def normalize(
    lattice: Lattice, observation: Observation, taper: float, common: float | None = None
) -> tuple[Lattice, NDArray[np.float64]]:
    """Divide intensities by their radial mean, and taper them towards the resolution.

    These are the normalized intensities E^2 of direct methods. With a common radius they are
    divided by the form factor instead, and are not known near its zeros.

    Returns
    -------
    lattice : Lattice
        Of weighted intensities.
    weight : array, shape (n, n)
        By which amplitudes were multiplied.
    """
    k, known = lattice.k, lattice.known
    resolution = k[lattice.inside].max()
    if common is None:
        local = np.sqrt(observation.radial_mean(k))
    else:
        q = k * common
        form = np.abs(normalized_form(q))
        known = known & (form > np.where(q < 3.0, 0.12, 0.64 * np.maximum(q, 1e-9) ** -1.5))
        local = np.maximum(form, 1e-3) * np.sqrt(observation.radial_mean(k).max())
    weight = np.exp(-taper * (k / resolution) ** 2) / local
    weight /= weight[lattice.inside].max()
    return lattice.with_intensity(lattice.intensity * weight**2, known), weight


def complete(lattice: Lattice, rounds: int) -> Lattice:
    """Fill in what is not known so that the Patterson map is positive.

    Parameters
    ----------
    lattice : Lattice
        Normalized and tapered.
    rounds : int
        Of projections, with a threshold that falls to 0.
    """
    unknown = lattice.inside & ~lattice.known
    if not unknown.any():
        return lattice
    origin = _origin_peak(lattice)
    n = len(lattice.k)
    half = np.s_[:, : n // 2 + 1]
    fixed = np.where(lattice.known, lattice.intensity - origin, 0.0)[half].astype(np.float32)
    known, free = lattice.known[half], unknown[half]
    values = fixed
    plane = scipy.fft.irfft2(values, s=(n, n))
    deviation = plane.std()
    for turn in range(rounds):
        positive = np.maximum(plane - deviation * (1.0 - turn / rounds), 0.0)
        values = np.where(known, fixed, np.where(free, scipy.fft.rfft2(positive).real, 0.0))
        plane = scipy.fft.irfft2(values, s=(n, n))
    filled = scipy.fft.fft2(plane).real + origin
    return lattice.with_intensity(
        np.where(lattice.known, lattice.intensity, np.maximum(filled, 0.0)), lattice.inside
    )


def restore(lattice: Lattice, rounds: int, width: float) -> Lattice:
    """Fill in what is not known and undo a Gaussian point spread, both at once.

    A point spread multiplies the Patterson map by a Gaussian. Of positive maps the one is sought that gives
    the measured intensities where they are known, by gradient steps with momentum; what is left of the peaks
    of far pairs comes back by being positive, where a division would only raise the noise.

    Parameters
    ----------
    lattice : Lattice
        Normalized and tapered.
    rounds : int
        Of steps, with a threshold that falls to 0 halfway.
    width : float
        Standard deviation of the point spread, in k.

    Notes
    -----
    Source: Beck and Teboulle, SIAM J. Imaging Sci. 2, 183 (2009), section 4, for the steps.
    """
    origin = _origin_peak(lattice)
    n = len(lattice.k)
    half = np.s_[:, : n // 2 + 1]
    x = np.fft.fftfreq(n, 1.0 / n) * lattice.spacing
    along = np.exp(-0.5 * (width * x) ** 2).astype(np.float32)
    transfer = along[:, None] * along[None, :]
    told = (lattice.known | ~lattice.inside)[half]
    measured = np.where(lattice.known, lattice.intensity - origin, 0.0)[half].astype(np.float32)
    threshold = RESTORING * scipy.fft.irfft2(measured, s=(n, n)).std()
    plane = np.zeros((n, n), np.float32)
    ahead, momentum = plane, 1.0
    for turn in range(rounds):
        off = np.where(told, scipy.fft.rfft2(transfer * ahead) - measured, 0.0)
        step = transfer * scipy.fft.irfft2(off, s=(n, n))
        stepped = np.maximum(ahead - step - threshold * max(1.0 - 2.0 * turn / rounds, 0.0), 0.0)
        faster = (1.0 + math.sqrt(1.0 + 4.0 * momentum**2)) / 2.0
        ahead = stepped + np.float32((momentum - 1.0) / faster) * (stepped - plane)
        plane, momentum = stepped, faster
    filled = scipy.fft.fft2(plane).real + origin
    return lattice.with_intensity(np.maximum(filled, 0.0), lattice.inside)


def _origin_peak(lattice: Lattice) -> NDArray[np.float64]:
    """Give the mean of the intensities: the peak at the origin, as high as all others together."""
    resolution = lattice.k[lattice.inside].max()
    origin = np.exp(-2.0 * (lattice.k / resolution) ** 2) * lattice.inside
    origin *= lattice.intensity[lattice.known].sum() / origin[lattice.known].sum()
    return np.asarray(origin)


def _plane(observation: Observation, resolution: float) -> tuple[NDArray[np.complex128], float]:
    """Transform normalized intensities about the told centre; real only if that is right."""
    use = observation.known & (observation.k <= resolution)
    i, j = np.nonzero(use)
    center = np.rint(observation.center).astype(int)
    k, values = observation.k[use], observation.values[use]
    normalized = (values / observation.radial_mean(k) - 1.0) * np.exp(-2.0 * (k / resolution) ** 2)
    reach = int(max(np.abs(i - center[0]).max(), np.abs(j - center[1]).max()))
    n = scipy.fft.next_fast_len(2 * reach + 2)
    lattice = np.zeros((n, n))
    lattice[(i - center[0]) % n, (j - center[1]) % n] = normalized
    return scipy.fft.ifft2(lattice), 2.0 * np.pi / (n * observation.k_step)


def find_extent(observation: Observation, radius: float, k_most: float, blurred: bool = False) -> float:
    """Find the extent of the sample: as far as the Patterson map has peaks, or all that the k step can hold.

    Parameters
    ----------
    observation : Observation
    radius : float
        Effective radius of the disks.
    k_most : float
        Largest |k| along an axis of the frame.
    blurred : bool
        Whether a point spread may hide the furthest peaks; then less is believed.
    """
    possible = np.pi / observation.k_step
    reaches = sorted(_reach(observation, min(q / radius, k_most), radius) for q in (3.0, 5.0, 8.0))
    # Two of the three must show that the sample is small: ripples of one pass for peaks.
    small = 0.0 < reaches[1] < (0.34 if blurred else 0.42) * possible
    return float(min(reaches[-1] + 2.0 * radius, possible) if small else possible)


def _reach(observation: Observation, resolution: float, radius: float) -> float:
    """Give how far the Patterson map may have peaks: as far as it shows any, more where noise hides some."""
    plane, spacing = _plane(observation, resolution)
    n = len(plane)
    distance = np.abs(np.fft.fftfreq(n, 1.0 / n)) * spacing
    longest = np.maximum(distance[:, None], distance[None, :])
    height = np.abs(plane)
    away = longest > 4.0 * radius
    highest = float(height[away].max())
    hidden = 7.0 * float(np.median(height[away])) / np.sqrt(2.0 * np.log(2.0))
    peaks = away & (height > max(hidden, 0.02 * highest))
    return float(longest[peaks].max()) * (1.2 + hidden / highest) if peaks.any() else 0.0


def find_center(
    observation: Observation, resolution: float, radius: float, reach: float
) -> tuple[NDArray[np.float64], float]:
    """Find how far the beam is from the told centre: there the Patterson map is real and its peaks positive.

    Parameters
    ----------
    observation : Observation
    resolution : float
        Largest |k| used.
    radius : float
        Effective radius of the disks.
    reach : float
        Pixels to search on each side.

    Returns
    -------
    offset : array, shape (2,)
        Rows and columns to add to the told centre.
    gain : float
        How many times more skew the map is there; 1 if the told centre is as good.
    """
    plane, spacing = _plane(observation, resolution)
    n = len(plane)
    x = np.fft.fftfreq(n, 1.0 / n) * spacing
    height = np.abs(plane)
    height[np.hypot(x[:, None], x[None, :]) < 2.5 * radius] = 0.0
    highest = np.argsort(height, axis=None)[-3000:]
    values = plane.ravel()[highest]
    turn = observation.k_step * np.stack([x[highest // n], x[highest % n]])
    told = np.asarray(observation.center) - np.rint(observation.center)

    most = float((np.abs(values) ** 3).sum())

    def skewness(offset: NDArray[np.float64]) -> float:
        real = (values * np.exp(-1j * ((told + offset) @ turn))).real
        return float((real**3).sum()) - LEAN * most * float(offset @ offset)

    trials = [
        np.array([a, b])
        for a in np.arange(-reach, reach + 0.1, 0.25)
        for b in np.arange(-reach, reach + 0.1, 0.25)
    ]
    best = max(trials, key=skewness)
    around = best + 0.1 * np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    options = {"xatol": 2e-3, "fatol": 1e-12, "initial_simplex": around, "maxiter": 60}
    found = minimize(lambda offset: -skewness(offset), best, method="Nelder-Mead", options=options)
    at_told, at_best = skewness(np.zeros(2)), -float(found.fun)
    return np.asarray(found.x), at_best / at_told if at_told > 0 else math.inf
