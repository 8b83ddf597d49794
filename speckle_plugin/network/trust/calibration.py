"""Confidences that are right for each kind of frame, and the disk numbers that are possible for it.

One temperature for all frames makes confidences right for their mixture only. Here it is told for each frame:
a perceptron finds the family of disks that it shows, another one the temperature by family, photons, what a
mask leaves out, how far the beam may be off, and what the network gave. The temperature divides all logits of
a frame alike, so that no label changes. Possible are all disk numbers that are not too improbable then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.network.trust.oddness import FARTHEST, about_number, log_probabilities, perceive
from speckle_plugin.network.trust.statistics import STATISTICS

__all__ = [
    "PHOTONS",
    "Calibration",
    "brief_inputs",
    "brief_size",
    "probable_families",
    "possible_classes",
    "temperatures_by",
]

TEMPERATURES = (0.05, 20.0)
"""Least and most."""

PHOTONS = slice(sum(STATISTICS.values()), sum(STATISTICS.values()) + 2)
ENERGY = slice(PHOTONS.stop + 2, PHOTONS.stop + 3)
_FIRST = sum(list(STATISTICS.values())[: list(STATISTICS).index("beam")])
BEAM = slice(_FIRST, _FIRST + STATISTICS["beam"])
"""Where the inputs of perceptrons have these."""

MASKED_SCALE = 10.0
"""Makes 1 of a mask that leaves out a tenth."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """What is known of how sure the network may be.

    Parameters
    ----------
    families : sequence of array
        Weights and biases, in turns, of the perceptron that tells the family of disks.
    layers : sequence of array
        Those of the one whose output is the logarithm of the temperature.
    limit : float
        Numbers of at least this probability are possible.
    """

    families: Sequence[NDArray[np.float32]]
    layers: Sequence[NDArray[np.float32]]
    limit: float

    def temperatures(
        self, inputs: NDArray[np.float32], logits: NDArray[np.floating], masked: ArrayLike
    ) -> NDArray[np.float64]:
        """Give the temperature of each frame.

        Parameters
        ----------
        inputs : array, shape (N, inputs)
            As :class:`speckle_plugin.network.trust.Verdict` has them.
        logits : array, shape (N, views, classes)
            That are to be divided by the temperatures.
        masked : float, or array of shape (N,)
            Share of the pixels that a mask leaves out.

        Returns
        -------
        array, shape (N,)
        """
        return temperatures_by(
            brief_inputs(inputs, self.probable_families(inputs), logits, masked), self.layers
        )

    def probable_families(self, inputs: NDArray[np.float32]) -> NDArray[np.float64]:
        """Give how probable each family of disks is, shape (N, families)."""
        return probable_families(inputs, self.families)


def probable_families(
    inputs: NDArray[np.float32], layers: Sequence[NDArray[np.float32]]
) -> NDArray[np.float64]:
    """Give how probable each family of disks is, shape (N, families), by a perceptron."""
    return np.exp(log_probabilities(perceive(inputs, layers)))


def temperatures_by(brief: NDArray[np.float32], layers: Sequence[NDArray[np.float32]]) -> NDArray[np.float64]:
    """Give temperatures, shape (N,), by what :func:`brief_inputs` gives."""
    least, most = np.log(TEMPERATURES)
    return np.exp(np.clip(perceive(brief, layers)[:, 0].astype(np.float64), least, most))


def brief_inputs(
    inputs: NDArray[np.float32],
    families: NDArray[np.floating],
    logits: NDArray[np.floating],
    masked: ArrayLike,
) -> NDArray[np.float32]:
    """Give what the temperature is told by.

    That is how probable each family is, photons, mean and deviation of the number by the logits, the
    network's energy, the largest two probabilities, how much of the frame is masked, and how much likelier
    another place of the beam is.
    """
    place, largest = about_number(np.asarray(logits, np.float64).mean(axis=1))
    blemishes = np.stack(
        [np.broadcast_to(np.multiply(masked, MASKED_SCALE), len(inputs)), inputs[:, BEAM].max(axis=1)], axis=1
    )
    told = np.concatenate([inputs[:, PHOTONS], place, inputs[:, ENERGY], largest, blemishes], axis=1)
    return np.concatenate([families, np.clip(told, -FARTHEST, FARTHEST)], axis=1).astype(np.float32)


def brief_size(families: Sequence[NDArray[np.float32]]) -> int:
    """Give how many numbers :func:`brief_inputs` gives of a frame."""
    photons, place, energy, largest, blemishes = 2, 2, 1, 2, 2
    return len(families[-1]) + photons + place + energy + largest + blemishes


def possible_classes(probabilities: NDArray[np.floating], limit: float) -> NDArray[np.bool_]:
    """Tell which classes are possible for frames: the most probable, and all of at least a limit.

    Parameters
    ----------
    probabilities : array, shape (N, classes)
    limit : float

    Returns
    -------
    array of bool, shape (N, classes)

    Notes
    -----
    Source: Sadinle, Lei and Wasserman, Least ambiguous set-valued classifiers with bounded error levels,
    J. Am. Stat. Assoc. 114, 223 (2019).
    """
    possible = np.asarray(probabilities >= limit)
    possible[np.arange(len(possible)), probabilities.argmax(axis=1)] = True
    return possible
