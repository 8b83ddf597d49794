"""Compare two sets of disks: they may be shifted and inverted, and come in any order."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment

__all__ = ["aligned", "largest_difference"]


def aligned(found: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Shift, invert and sort disks to lie as near to others as they can.

    Parameters
    ----------
    found, truth : array, shape (n, 3)
        x, y, r of as many disks.

    Returns
    -------
    array, shape (n, 3)
        Row i belongs to row i of `truth`.

    Raises
    ------
    ValueError
        If they are not as many.
    """
    found, truth = np.asarray(found, float), np.asarray(truth, float)
    if found.shape != truth.shape:
        raise ValueError(f"expected as many disks, got {len(found)} and {len(truth)}")
    best: tuple[float, NDArray[np.float64]] | None = None
    for sign in (1.0, -1.0):
        turned = found * [sign, sign, 1.0]
        for anchor in range(len(truth)):  # any true disk may be the largest that was found
            trial = turned.copy()
            largest = int(found[:, 2].argmax())
            trial[:, :2] += truth[anchor, :2] - turned[largest, :2]
            for _ in range(2):
                distance = np.linalg.norm(trial[:, None] - truth[None], axis=2)
                mine, theirs = linear_sum_assignment(np.minimum(distance, 1e3))
                order = mine[np.argsort(theirs)]
                trial[:, :2] += np.median(truth[:, :2] - trial[order][:, :2], axis=0)
            trial = trial[order]
            trial[:, :2] += (truth - trial)[:, :2].mean(axis=0)
            off = float(np.abs(trial - truth).max())
            if best is None or off < best[0]:
                best = (off, trial)
    if best is None:
        raise ValueError("there are no disks to compare")
    return best[1]


def largest_difference(found: ArrayLike, truth: ArrayLike) -> float:
    """Give the largest difference of a coordinate or a radius, after :func:`aligned`."""
    return float(np.abs(aligned(found, truth) - np.asarray(truth, float)).max())
