"""What a network says of frames: probabilities of their disk numbers, and how its views are joined."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.trust.calibration import possible_classes
from speckle_plugin.network.trust.oddness import log_probabilities

__all__ = ["Posterior", "join_views"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """What the network says of N frames.

    Parameters
    ----------
    classes : tuple of int
    probabilities : array, shape (N, classes), float32
        Calibrated by the frames' temperatures, or that of the bundle; each row sums to 1.
    novelty : array, shape (N,), float32
        See :class:`speckle_plugin.network.FeatureStatistics`; 0 without them.
    limit : float or None
        By which numbers are possible; None where that was not fitted.
    """

    classes: tuple[int, ...]
    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float32]
    limit: float | None = None

    @property
    def disk_number(self) -> NDArray[np.int64]:
        """Most probable disk number of each frame, shape (N,)."""
        return np.asarray(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def confidence(self) -> NDArray[np.float32]:
        """Probability of that disk number, shape (N,)."""
        return self.probabilities.max(axis=1)

    @property
    def entropy(self) -> NDArray[np.float32]:
        """Entropy of the probabilities in nats, shape (N,)."""
        p = np.maximum(self.probabilities, np.finfo(np.float32).tiny)
        return -(p * np.log(p)).sum(axis=1)

    @property
    def possible(self) -> list[tuple[int, ...]]:
        """The disk numbers that are possible for each frame; none where that was not fitted."""
        if self.limit is None:
            return [()] * len(self.probabilities)
        chosen = possible_classes(self.probabilities, self.limit)
        return [tuple(np.asarray(self.classes)[row].tolist()) for row in chosen]


def join_views(
    logits: NDArray[np.floating], temperature: float | NDArray[np.floating]
) -> NDArray[np.float64]:
    """Give the logarithm of the probabilities of N frames, by what the network says of their views.

    The views of a frame, its quadrants, are independent in their speckle, and their posteriors would
    multiply (all disk numbers being equally probable beforehand). But they show the same disks: where radii
    are unlike, what misleads the network in one misleads it in the other. So the sum of the logarithms is
    divided by the square root of the number of views, between 1 (independent) and that number (wholly
    alike). `docs/results.md` has the calibration errors.

    Parameters
    ----------
    logits : array, shape (N, views, classes)
    temperature : float, or array of shape (N, 1, 1)

    Returns
    -------
    array, shape (N, classes)
    """
    log_p = log_probabilities(logits / temperature).sum(axis=1)
    return log_probabilities(log_p / np.sqrt(logits.shape[1]))
