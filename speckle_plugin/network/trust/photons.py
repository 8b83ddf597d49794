"""Frames of counts as heads have learned them: of no more photons, and with the noise of photons.

A frame of more photons than a head has learned is thinned: of each photon it is drawn whether it is kept.
What remains is a frame as a shorter exposure would have given it.

Whole numbers without the noise of photons, as simulations store them, are told by their pairs: two photons
are in one pixel at least as often as in two that are neighbours. Numbers that were rounded, or cut off, are
not so: where they are 0 and 1, the ones stand together.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.trust import kernels
from speckle_plugin.network.trust.statistics import COUNTED, PHOTONS, View, view_values

__all__ = ["lack_photon_noise", "thinned"]

SPARE = 2.0
"""Times as many photons as were learned are taken as they are."""

LARGEST = 2.0**24
"""From here on each number of single precision is a whole one: if the least is, nothing is told by that."""

MOST = 2.0**53
"""Photons of a pixel beyond which nothing is counted."""

SEED = 0
"""The same frame has the same label each time."""

FAINT = 0.3
"""Counts a pixel on average, up to which a ring shows whether there is noise."""

BY_CHANCE = 2.5
"""Deviations by which pairs of neighbours have to be more: about those of so many pairs."""


def thinned(
    frame: NDArray[Any],
    statistics: NDArray[np.float32],
    most: float,
    valid: NDArray[np.bool_],
    views: tuple[View, ...],
) -> NDArray[Any]:
    """Give a frame with about `most` photons, or itself where it has not many more, or no counts.

    Whole numbers are counts, too, if the least of them is so large that the statistics do not see steps.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    statistics : array
        Of this frame, see :func:`speckle_plugin.network.trust.statistics.frame_statistics`.
    most : float
        Photons, as the statistics count them.
    valid : array of bool, shape (rows, columns)
        Pixels that count; others are 0 in a thinned frame.
    views : tuple of View
    """
    counted = statistics[COUNTED] > 0.5
    photons = 10.0 ** float(statistics[PHOTONS]) if counted else _whole(frame, valid, views)
    if photons <= SPARE * most:
        return frame
    pixels = np.where(valid, frame, 0.0)
    counts = _counts(pixels, _least(pixels) if counted else 1.0).astype(np.int64)
    return np.random.default_rng(SEED).binomial(counts, most / photons).astype(np.float32)


def _whole(frame: NDArray[Any], valid: NDArray[np.bool_], views: tuple[View, ...]) -> float:
    """Give how many photons a frame of whole numbers has, none of which is negative; 0 for other frames."""
    pixels = np.where(valid, frame, 0.0)
    least = pixels.min(where=pixels != 0, initial=np.inf)
    if not (0.0 < least < LARGEST and np.array_equal(pixels, np.rint(pixels))):
        return 0.0
    return float(np.mean([view_values(frame, view).sum(dtype=np.float64) for view in views]))


def _least(values: NDArray[Any]) -> float:
    """Give the least positive value; infinity where there is none."""
    return float(values.min(where=values > 0, initial=np.inf))


def _counts(values: NDArray[Any], unit: float) -> NDArray[np.float64]:
    """Give values as whole numbers of a unit; negative ones, and those that are no numbers, as 0."""
    with np.errstate(all="ignore"):
        steps = np.nan_to_num(np.rint(values / np.float64(unit)), nan=0.0, posinf=MOST)
    return np.clip(steps, 0.0, MOST)


def lack_photon_noise(frame: NDArray[Any], statistics: NDArray[np.float32], views: tuple[View, ...]) -> bool:
    """Tell whether a frame has whole numbers that are no counts of photons, since their pairs are too near.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    statistics : array
        Of this frame.
    views : tuple of View

    Notes
    -----
    For means a and b of two pixels n (n - 1) has the means a^2 and b^2, and the product of both counts a b,
    which is half the sum of these at most. Source of the first: Mandel and Wolf, Optical coherence and
    quantum optics, Cambridge (1995), chapter 14.
    """
    if statistics[COUNTED] < 0.5:
        return False
    within = between = 0.0
    for view in views:
        values = view_values(frame, view)
        counts = _counts(values, _least(values))
        faint = _faint(counts.astype(np.float32), view)
        pairs = counts * (counts - 1.0)
        for one, other in (((slice(1, None),), (slice(-1),)), ((..., slice(1, None)), (..., slice(-1)))):
            both = faint[one] & faint[other]
            within += 0.5 * float((pairs[one] + pairs[other])[both].sum())
            between += float((counts[one] * counts[other])[both].sum())
    return between > within + BY_CHANCE * np.sqrt(between + within)


def _faint(counts: NDArray[np.float32], view: View) -> NDArray[np.bool_]:
    """Tell which pixels are in rings of few photons, shape of the quadrant."""
    rings = view.rings
    mean = kernels.ring_sums(counts.reshape(-1).take(rings.places), rings.starts)
    mean /= np.maximum(view.counts, 1.0)
    faint = np.zeros(counts.size, bool)
    faint[rings.places] = np.repeat(mean < FAINT, np.diff(rings.starts))
    return faint.reshape(counts.shape)
