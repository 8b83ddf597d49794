"""Radii from the radial mean alone: an effective one for all disks, or a common one if they are equal.

The name is that of the first approximation of this kind: Guinier and Fournet, Small-Angle Scattering
of X-Rays, 1955, chapter 2. Equal disks show zeros of their common form factor.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d
from scipy.special import j1

from speckle_plugin.structure.observation import Observation

__all__ = ["common_radius", "effective_radius", "normalized_form"]

HALF_ENERGY = 1.680

DECAY = 3.2
"""Values of k r up to which the form factor's main maximum is fitted."""


def normalized_form(q: NDArray[np.float64]) -> NDArray[np.float64]:
    """Amplitude of a disk at q = k r, 1 at q = 0."""
    q = np.maximum(q, 1e-9)
    return np.asarray(2.0 * j1(q) / q)


def effective_radius(observation: Observation) -> float:
    """Fit the main maximum of one disk's form factor to the radial mean.

    The radius is that of the disks that scatter most.
    """
    k, mean = observation.rings
    rough = _radius_of_encircled_energy(k, mean)
    best = (np.inf, rough)
    for radius in np.geomspace(0.75 * rough, 1.3 * rough, 60):
        use = k * radius < DECAY
        if use.sum() < 4:
            continue
        form, values = normalized_form(k[use] * radius) ** 2, mean[use]
        weights = 1.0 / np.maximum(form, 0.03) ** 2
        scale = (values * form * weights).sum() / (form**2 * weights).sum()
        if scale > 0:
            misfit = float((weights * (values / scale - form) ** 2).mean())
            best = min(best, (misfit, float(radius)))
    return best[1]


def _radius_of_encircled_energy(k: NDArray[np.float64], mean: NDArray[np.float64]) -> float:
    """Take the |k| within which half of the intensity lies: 1 / 2 = 1 - J0^2 - J1^2 at k r = 1.680."""
    edges = np.concatenate([[0.0], (k[1:] + k[:-1]) / 2.0, [k[-1]]])
    energy = np.cumsum(np.maximum(mean, 0.0) * np.diff(edges**2))
    return HALF_ENERGY / float(np.interp(0.5 * energy[-1], energy, edges[1:]))


def common_radius(observation: Observation, radius: float) -> tuple[float, float]:
    """Find the radius that all disks would have, near an effective one, from the zeros of the radial mean.

    Returns
    -------
    common : float
    contrast : float
        How much worse (positive) or better than a smooth mean it explains the rings, in log-likelihood a
        pixel of exponentially distributed intensities.
    """
    k, values = observation.k[observation.known], observation.values[observation.known]
    use = k < 12.0 / radius
    k, values = k[use], np.maximum(values[use], 0.0)
    fine = np.minimum((k / k.max() * 400).astype(int), 399)
    count = np.bincount(fine, minlength=400)
    filled = count > 0
    count = count[filled]
    k = np.bincount(fine, k, minlength=400)[filled] / count
    mean = np.bincount(fine, values, minlength=400)[filled] / count
    best = (np.inf, radius)
    for trial in np.geomspace(0.5 * radius, 1.7 * radius, 700):
        q = k * trial
        form = normalized_form(q) ** 2 + 3e-4 * np.minimum(1.0, np.maximum(q, 1e-9) ** -3.0)
        scale = (count * mean / form).sum() / count.sum()
        best = min(best, (float((count * np.log(scale * form)).sum()), float(trial)))
    smooth = np.maximum(gaussian_filter1d(mean, 6.0), 1e-12 * mean.max())
    return best[1], (best[0] - float((count * np.log(smooth)).sum())) / float(count.sum())
