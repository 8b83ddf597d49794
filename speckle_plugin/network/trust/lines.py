"""How rows and columns stand out: from those beside, and from what their rings have on average.

A dead line is darker than its rings say, a step of gain has all lines from there on brighter or darker.
Roots of the values are summed: of counts of photons they vary alike, whether few or many.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.trust import kernels

__all__ = ["LINE_STATISTICS", "Lines"]

LINE_STATISTICS = 18
"""Numbers that are told."""

FIRST_LINE = 12
"""Rows and columns from the beam on that are not compared, being too steep."""

LEAST_SHARE = 0.25
"""Lines of which less is seen, in parts of the one of which most is, are left out."""

STEP_WIDTH = 16
"""Lines on either side of a step of gain that are averaged."""

FEWEST_LINES = 2 * STEP_WIDTH
"""Where a mask leaves fewer, nothing is told."""

SPECKLE = 0.05
"""By how much, in parts, speckle has the sum of a line differ from what its rings have on average."""

DARK, FARTHEST, FARTHEST_OF_STEPS = 4.0, 50.0, 9.0
"""Standard deviations from which on a line is dark; and those to which they are cut."""


class Lines(NamedTuple):
    """Which pixels of a view lie on which line.

    Parameters
    ----------
    counts : tuple of two arrays, shape (lines,)
        Pixels of each row and of each column that are compared.
    rings : tuple of two arrays, shape (lines, rings), float32
        How many of these lie on each ring.
    """

    counts: tuple[NDArray[np.float64], ...]
    rings: tuple[NDArray[np.float32], ...]

    @classmethod
    def of(cls, ring: NDArray[np.int16], rings: int) -> Lines:
        """Make them of the ring of each pixel, shape (rows, columns); -1 for those that are left out."""
        inner = ring[FIRST_LINE:, FIRST_LINE:]
        on_rings = tuple(
            np.stack([np.bincount(line[line >= 0], minlength=rings) for line in lines]).astype(np.float32)
            for lines in (inner, inner.T)
        )
        return cls(tuple(each.sum(axis=1, dtype=float) for each in on_rings), on_rings)

    def compare(
        self, values: NDArray[np.float32], on_ring: NDArray[np.float32], unit: float
    ) -> NDArray[np.float64]:
        """Tell how lines stand out.

        Parameters
        ----------
        values : array, shape (rows, columns), float32
            0 where they are left out.
        on_ring : array, shape (rings,), float32
            Mean of the roots of each ring's values.
        unit : float
            What one photon counts; 0 where the values are no counts.

        Returns
        -------
        array, shape (LINE_STATISTICS,)
            Nine numbers, the larger ones of rows and columns, then the smaller ones.
        """
        every = zip(kernels.line_sums(values, FIRST_LINE), self.counts, self.rings, strict=True)
        both = np.array([_stand_out(sums, counts, on @ on_ring, unit) for sums, counts, on in every])
        return np.concatenate([both.max(axis=0), both.min(axis=0)])


def _stand_out(
    sums: NDArray[np.floating], counts: NDArray[np.float64], expected: NDArray[np.float32], unit: float
) -> list[float]:
    good = counts > LEAST_SHARE * counts.max()
    if np.count_nonzero(good) < FEWEST_LINES:
        return [0.0] * (LINE_STATISTICS // 2)
    sums, counts, expected = (of[good].astype(np.float64) for of in (sums, counts, expected))
    means = sums / counts
    logs = np.log(means + 1e-3 * means.mean() + 1e-30)
    steps = np.diff(logs)
    around = np.convolve(steps, [0.25, 0.25, 0.0, 0.25, 0.25], mode="same")
    alone = logs[1:-1] - 0.5 * (logs[:-2] + logs[2:])
    # Of roots of few photons the variance is that of the photons, of many a quarter for each pixel.
    noise = np.minimum(math.sqrt(unit) * expected, 0.4 * unit * counts)
    differs = (sums - expected) / np.sqrt(noise + (SPECKLE * expected) ** 2 + 1e-30)
    differs = np.clip(differs, -FARTHEST, FARTHEST)
    cut = np.clip(differs, -FARTHEST_OF_STEPS, FARTHEST_OF_STEPS)
    mean = np.convolve(cut, np.full(STEP_WIDTH, 1.0 / STEP_WIDTH), mode="valid")
    wide = np.abs(mean[STEP_WIDTH:] - mean[:-STEP_WIDTH])
    return [
        np.abs(steps - around).max(),
        alone.max(),
        -alone.min(),
        np.abs(steps).mean(),
        differs.max(),
        -differs.min(),
        math.log1p(np.count_nonzero(differs < -DARK)),
        wide.max(),
        math.log((wide.max() + 1e-3) / (np.median(wide) + 1e-3)),
    ]
