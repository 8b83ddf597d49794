"""Detectors of oddness, joined: which frames a network was not made for, and in what they are odd.

Three look at a frame. The distance of the network's features from those of known frames, and the distance of
the frame's statistics, need to have seen known frames only. A small perceptron of both has seen odd frames
of several kinds, and names the kind. Each gives a score that is 1 where it alone would flag; the largest of
them counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.network.feature_statistics import FeatureStatistics
from speckle_plugin.network.trust.statistics import COUNTED, STATISTICS
from speckle_plugin.schema import Flag

__all__ = ["Look", "Oddness", "Verdict", "log_probabilities"]

FARTHEST = 6.0
"""Standard deviations to which the inputs of the perceptron are cut."""

STEEPNESS = np.array([4.0, 4.0, 1.0])
"""Of the scores of features, statistics and perceptron, beside that from the middle to the limit."""

LEAST_DEVIATION = 1e-3
"""Added to all deviations of statistics; those that are the same for all known frames have no other."""

FEWEST = 2
"""Classes that have limits of their own."""

MOST_UNSEEN = 8
"""Statistics that known frames have and a mask may leave no pixels for: two bands and a zone about the beam.
Where it hides more, labels are worse (docs/how-to/masks-and-center.md)."""

HIDDEN = 2.0
"""Score of a frame of which more is hidden."""

SYMMETRY = slice(sum(STATISTICS.values()) - STATISTICS["symmetry"], sum(STATISTICS.values()))
"""Places of the last group of the statistics: how alike the two copies of pixels are."""


class Look(NamedTuple):
    """What is seen of N frames: statistics (N, n), features (N, m) and logits (N, views, classes)."""

    statistics: NDArray[np.float32]
    features: NDArray[np.floating]
    logits: NDArray[np.floating]


class Verdict(NamedTuple):
    """What is said of N frames."""

    score: NDArray[np.float64]
    """Shape (N,); above 1 they are odd."""

    flags: tuple[Flag, ...]
    """In what each is odd most, whether it is or not."""

    detectors: NDArray[np.float64]
    """Scores of the features, of the statistics and of the perceptron, shape (N, 3)."""

    inputs: NDArray[np.float32]
    """What the perceptron was given, shape (N, inputs)."""

    @property
    def detected(self) -> NDArray[np.float64]:
        """The largest score of the detectors, shape (N,): what a mask hides does not count."""
        return np.asarray(self.detectors.max(axis=1))


def log_probabilities(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Give the logarithm of the probabilities of each row of logits."""
    shifted = np.asarray(logits, np.float64) - np.max(logits, axis=-1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True)))


@dataclass(frozen=True, eq=False)
class Oddness:
    """What is known of known frames, and of odd ones.

    Parameters
    ----------
    means, deviations : array, shape (2, n)
        Of the statistics of known frames without counts of photons, and with.
    known : FeatureStatistics
        How these statistics, standardized, are distributed.
    layers : sequence of array
        Weights and biases of the perceptron, in turns; its outputs are the known frames, then `kinds`.
    kinds : tuple of Flag
    middles, limits : array, shape (2, 3)
        Score of each detector that a known frame has in the middle, and that above which it flags: first of
        frames that the network takes for the fewest disks (see :func:`group_of`), then of all others.
    """

    means: NDArray[np.float32]
    deviations: NDArray[np.float32]
    known: FeatureStatistics
    layers: Sequence[NDArray[np.float32]]
    kinds: tuple[Flag, ...]
    middles: NDArray[np.float64]
    limits: NDArray[np.float64]

    def judge(self, look: Look, features: FeatureStatistics | None) -> Verdict:
        """Judge frames.

        Parameters
        ----------
        look : Look
        features : FeatureStatistics or None
            Those of the bundle.
        """
        standardized = standardize(look.statistics, self.means, self.deviations)
        inputs = inputs_of(standardized, look, features)
        values = perceive(inputs, self.layers)
        log_p = log_probabilities(values)
        odd = np.logaddexp.reduce(log_p[:, 1:], axis=1) - log_p[:, 0]
        scores = np.stack([novelty(look, features), self.known.distances(standardized), odd], axis=1)
        group = group_of(look.logits)
        detectors = scale(scores, self.middles[group], self.limits[group])
        named = [self.kinds[place] for place in log_p[:, 1:].argmax(axis=1)]
        # The perceptron names the kind wherever it finds the frame odd, the others where it does not.
        flags = tuple(
            kind if of[2] > 1 else (Flag.ODD_FEATURES, Flag.ODD_STATISTICS, kind)[int(of.argmax())]
            for kind, of in zip(named, detectors, strict=True)
        )
        hidden = self._unseen(look.statistics) > MOST_UNSEEN
        score = np.maximum(detectors.max(axis=1), np.where(hidden, HIDDEN, -np.inf))
        flags = tuple(Flag.ODD_MASK if of_mask else flag for of_mask, flag in zip(hidden, flags, strict=True))
        return Verdict(score, flags, detectors, inputs)

    def _unseen(self, statistics: NDArray[np.float32]) -> NDArray[np.intp]:
        """Count the statistics that frames lack and known frames have, shape (N,)."""
        varies = self.deviations.max(axis=0) > 2.0 * LEAST_DEVIATION
        return np.asarray((np.isnan(statistics) & varies).sum(axis=1))


def scale(
    scores: NDArray[np.float64], middles: NDArray[np.float64], limits: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Give scores of detectors, shape (N, 3), that are 1 at their limits.

    That of the perceptron is 0 in the middle of known frames. Those of the distances fall off more steeply,
    so that they speak of frames that are far out, and do not blur the order of others.
    """
    scaled = (scores - middles) / (limits - middles)
    return np.asarray(1.0 + (scaled - 1.0) * STEEPNESS)


def group_of(logits: NDArray[np.floating]) -> NDArray[np.intp]:
    """Give 0 for frames that the network takes for one of the two fewest disk numbers, else 1.

    Two disks give a few fringes, which look less alike from frame to frame than the speckles of many; with
    the same limits most false alarms would be of them.
    """
    return np.asarray(np.mean(logits, axis=1).argmax(axis=1) >= FEWEST, np.intp)


def standardize(
    statistics: NDArray[np.float32], means: NDArray[np.float32], deviations: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Give statistics in standard deviations of known frames of their kind, with counts or without.

    What a frame has no pixels for says nothing: it is in the middle. So is the symmetry, if the known frames
    had one copy of each pixel only.
    """
    kind = (statistics[:, COUNTED] > 0.5).astype(np.intp)
    standardized = np.nan_to_num((statistics - means[kind]) / deviations[kind], nan=0.0)
    if deviations[:, SYMMETRY].max() < 2.0 * LEAST_DEVIATION:
        standardized[:, SYMMETRY] = 0.0
    return np.clip(standardized, -FARTHEST, FARTHEST).astype(np.float32)


def novelty(look: Look, features: FeatureStatistics | None) -> NDArray[np.float64]:
    """Give the logarithm of the distance of the features; 0 where a bundle has no statistics of them."""
    if features is None:
        return np.zeros(len(look.features))
    return np.log(features.distances(look.features.astype(np.float32)).astype(np.float64) + 1e-6)


def inputs_of(
    standardized: NDArray[np.float32], look: Look, features: FeatureStatistics | None
) -> NDArray[np.float32]:
    """Give the inputs of the perceptron, shape (N, inputs)."""
    logits = np.asarray(look.logits, np.float64).mean(axis=1)
    energy = np.logaddexp.reduce(logits, axis=1)
    place, largest = about_number(logits)
    more = [
        look.statistics[:, :2] - (5.0, 0.5),
        place,
        (energy[:, None] - 10.0) / 5.0,
        largest,
        np.exp(log_probabilities(logits)),
        novelty(look, features)[:, None],
    ]
    if features is not None:
        centered = look.features.astype(np.float64) - features.mean
        with one_blas_thread():
            along = centered @ features.components.T.astype(np.float64)
        more.append(along / np.sqrt(features.variances))
    joined = np.concatenate([standardized, *more], axis=1)
    return np.clip(joined, -FARTHEST, FARTHEST).astype(np.float32)


def about_number(logits: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give mean and deviation of the class, scaled, and the largest two probabilities: shapes (N, 2)."""
    p = np.exp(log_probabilities(logits))
    places = np.arange(p.shape[1])
    middle = p @ places
    spread = np.sqrt(np.maximum(p @ places**2 - middle**2, 0.0))
    return np.stack([(middle - 9.0) / 5.0, spread], axis=1), np.sort(p, axis=1)[:, -2:]


def perceive(inputs: NDArray[np.float32], layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Run the perceptron; the outputs are logits."""
    values: NDArray[Any] = inputs
    with one_blas_thread():
        for weights, biases in zip(layers[:-2:2], layers[1:-2:2], strict=True):
            values = np.maximum(values @ weights + biases, 0.0)
        return values @ layers[-2] + layers[-1]
