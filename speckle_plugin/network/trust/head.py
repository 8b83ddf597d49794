"""The head: a perceptron that counts disks by statistics of a frame, and is joined with the network.

The network sees a map of a small range of k. The statistics are of all that the frame has, up to 257 pixels:
rings, contrast; and of the spots of sharper maps, up to as many pixels as the head is for. What the two say
of a view is joined as experts are: their logarithms of probabilities, weighted, are added
(docs/decisions/0034-a-head-of-statistics.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.trust.oddness import FARTHEST, log_probabilities, perceive, standardize
from speckle_plugin.network.trust.spots import SpotMaps
from speckle_plugin.network.trust.statistics import COUNTED, PHOTONS

__all__ = ["Head", "head_inputs", "rounded", "steps_of"]

LEVELS = 63
"""Steps from 0 to the largest weight of a unit. More would fill the trust file, and tell nothing."""


@dataclass(frozen=True, eq=False)
class Head:
    """What was fitted to frames of known disk number.

    Parameters
    ----------
    maps : SpotMaps
        What is looked at of the Patterson maps.
    means, deviations : array, shape (2, inputs)
        Of the statistics of frames without counts of photons, and with.
    layers : sequence of array
        Weights and biases of the perceptron, in turns; its outputs are logits.
    shares : array, shape (2, families, 2) or (2, 1, 2)
        Weights of those before it and of the perceptron, in frames without counts and with, for each family
        of disks or alike for all.
    heard : float
        Score of the detectors of oddness up to which it is heard, see :func:`training.trust.fit_trust`.
    """

    maps: SpotMaps
    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    layers: Sequence[NDArray[np.float32]]
    shares: NDArray[np.float64]
    heard: float = np.inf

    @property
    def most_photons(self) -> float:
        """Photons up to which it learned, as the statistics count them.

        They were drawn alike on a logarithmic scale, which ends the root of three deviations above its mean.
        """
        return float(10.0 ** (self.means[1, PHOTONS] + math.sqrt(3.0) * self.deviations[1, PHOTONS]))

    def logits(self, statistics: NDArray[np.float32], spots: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give what the perceptron alone says: logarithms of probabilities, shape (N, views, classes).

        Parameters
        ----------
        statistics : array, shape (N, statistics)
        spots : array, shape (N, views, spots)
        """
        views = spots.shape[1]
        rows = np.concatenate(
            [np.repeat(statistics, views, axis=0), spots.reshape(-1, spots.shape[2])], axis=1
        )
        found = log_probabilities(perceive(head_inputs(rows, self.means, self.deviations), self.layers))
        return found.reshape(len(spots), views, -1)

    def join(
        self,
        before: NDArray[np.floating],
        statistics: NDArray[np.float32],
        spots: NDArray[np.float32],
        families: NDArray[np.floating],
        odd: NDArray[np.floating] | None = None,
    ) -> NDArray[np.float64]:
        """Join logits of the voices before it, shape (N, views, classes), with those of the perceptron.

        Of frames that are odder than those beside which it was fitted, those before it stay as they are.

        Parameters
        ----------
        before, statistics, spots : array
        families : array, shape (N, families)
            How probable each is: the weights are the mean by that.
        odd : array, shape (N,), optional
            Largest score of the detectors of oddness; without it, it is heard of all frames.
        """
        counted = (statistics[:, COUNTED] > 0.5).astype(np.intp)
        shares = (families[:, :, None] * self.shares[counted]).sum(axis=1)[:, :, None, None]
        joined = shares[:, 0] * log_probabilities(before) + shares[:, 1] * self.logits(statistics, spots)
        if odd is None:
            return joined
        return np.where((odd <= self.heard)[:, None, None], joined, before)


def steps_of(weights: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """Give weights, shape (inputs, units), in whole steps, and the step of each unit."""
    step = np.maximum(np.abs(weights).max(axis=0), np.finfo(np.float32).tiny) / np.float32(LEVELS)
    return np.rint(weights / step).astype(np.int8), step


def rounded(weights: NDArray[np.float32]) -> NDArray[np.float32]:
    """Round weights to the steps by which they are kept; biases, one for each unit, stay as they are."""
    if weights.ndim == 1:
        return weights
    whole, step = steps_of(weights)
    return whole * step


def head_inputs(
    rows: NDArray[np.float32], means: NDArray[np.float32], deviations: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Standardize statistics and spots, shape (N, inputs); whether there are counts is told as it is."""
    inputs = np.clip(standardize(rows, means, deviations), -FARTHEST, FARTHEST)
    inputs[:, COUNTED] = rows[:, COUNTED]
    return inputs
