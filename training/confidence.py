"""Fit how sure a network may be of each frame, beside a bundle whose weights stay as they are.

The frames are of all families of simulated disks, without noise, with many photons and with few, whatever
the bundle was trained on. A third of them gives what tells the family, another one the temperatures, and
the last one the limit of possible numbers: the largest that leaves each family and noise its truth.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import beta
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

from simulated_devices import Family
from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.network import Bundle
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Calibration
from speckle_plugin.network.trust.calibration import brief_inputs
from speckle_plugin.network.trust.oddness import log_probabilities
from training.frames import DrawnFrame, balanced_set
from training.looks import Seen
from training.recipe import FrameRecipe

__all__ = ["COVERAGE", "GROUPS", "fit_calibration", "graded_frames", "temperature_loss"]

NOISE: dict[str, tuple[float, ...]] = {
    "no noise": (),
    "many photons": (2e4, 1e6),
    "few photons": (7e3, 2e4),
}
"""Photons in the frame, drawn on a logarithmic scale."""

GROUPS = tuple(itertools.product((family.value for family in Family), NOISE))
"""Family and noise of each group, each of which is to be right by itself."""

COVERAGE = 0.95
"""Share of the frames whose set holds the truth, in each group."""

ASSURANCE = 0.95
"""Probability that a group has this share, by as many frames as gave the limit."""

FAMILY_LAYER = 32
FAMILY_DECAY = 1.0
EPOCHS = 20
HIDDEN = 12
DECAY = 3e-4
STEPS = 300


def graded_frames(recipe: FrameRecipe, seed: int, per_class: int) -> Iterator[tuple[int, DrawnFrame]]:
    """Yield frames with the place of their group in `GROUPS`, `per_class` of each disk number in each.

    Parameters
    ----------
    recipe : FrameRecipe
        That of the bundle: its grid, disk numbers, offsets and masks are taken.
    seed, per_class : int
    """
    for group, (family, noise) in enumerate(GROUPS):
        photons = NOISE[noise]
        kind = replace(recipe, families=(family,), shares=(), photons=photons, noisy_share=1.0)
        for drawn in balanced_set(kind, per_class, seed, "trust graded"):
            yield group, drawn


def fit_calibration(bundle: Bundle, inputs: NDArray[np.float32], seen: Seen) -> Calibration:
    """Fit families, temperatures and the limit of possible numbers, each to a third of the frames.

    Parameters
    ----------
    bundle : Bundle
    inputs : array, shape (N, inputs)
        What perceptrons are given of the frames, see :class:`speckle_plugin.network.trust.Verdict`.
    seen : Seen
        Of :func:`graded_frames`.
    """
    truth = np.searchsorted(bundle.classes, seen.disk_numbers)
    part = np.arange(len(truth)) % 3
    families = _fit_families(inputs[part == 0], seen.groups[part == 0] // len(NOISE))
    joined = join_views(seen.look.logits, 1.0)
    layers = _fit_temperatures(brief_inputs(inputs[part == 1], families), joined[part == 1], truth[part == 1])
    unlimited = Calibration(families, layers, 0.0)
    held_out = np.flatnonzero(part == 2)
    temperatures = unlimited.temperatures(inputs[held_out])
    p = np.exp(join_views(seen.look.logits[held_out], temperatures[:, None, None]))
    groups, p_truth = seen.groups[held_out], p[np.arange(len(held_out)), truth[held_out]]
    return replace(unlimited, limit=min(_limit(p_truth[groups == g]) for g in np.unique(groups)))


def _limit(p_truth: NDArray[np.float64]) -> float:
    """Give the largest limit that, most probably, leaves the truth possible for `COVERAGE` of such frames.

    Notes
    -----
    With the k-th largest of n values as the limit, the share that is covered is distributed as
    Beta(k, n + 1 - k). Source: Vovk, Conditional validity of inductive conformal predictors, ACML 2012.
    """
    falling = np.sort(p_truth)[::-1]
    k = np.arange(1, len(falling) + 1)
    enough = beta.ppf(1.0 - ASSURANCE, k, len(falling) + 1 - k) >= COVERAGE
    return float(falling[enough.argmax()]) if enough.any() else 0.0


def _fit_families(inputs: NDArray[np.float32], families: NDArray[np.int64]) -> list[NDArray[np.float32]]:
    perceptron = MLPClassifier(
        (FAMILY_LAYER,), alpha=FAMILY_DECAY, batch_size=128, max_iter=EPOCHS, random_state=0
    )
    with warnings.catch_warnings(), one_blas_thread():
        warnings.simplefilter("ignore", ConvergenceWarning)  # so many epochs, and no more, are wanted
        perceptron.fit(inputs, families)
    pairs = zip(perceptron.coefs_, perceptron.intercepts_, strict=True)
    return [np.asarray(layer, np.float32) for pair in pairs for layer in pair]


def _fit_temperatures(
    inputs: NDArray[np.float32], joined: NDArray[np.float64], truth: NDArray[np.intp]
) -> list[NDArray[np.float32]]:
    """Fit a perceptron of one hidden layer, by which frames are most likely to be of their classes."""
    rng = np.random.default_rng(0)
    count, given = inputs.shape[1], inputs.astype(np.float64)
    first = [
        rng.normal(0.0, count**-0.5, (count, HIDDEN)),
        np.zeros(HIDDEN),
        rng.normal(0.0, 0.1 * HIDDEN**-0.5, (HIDDEN, 1)),
        np.zeros(1),
    ]
    ends = np.cumsum([layer.size for layer in first])[:-1]

    def layers_of(vector: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        parts = np.split(vector, ends)
        return [part.reshape(layer.shape) for part, layer in zip(parts, first, strict=True)]

    def loss(vector: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        layers = layers_of(vector)
        hidden = np.maximum(given @ layers[0] + layers[1], 0.0)
        value, back = temperature_loss(joined, truth, (hidden @ layers[2] + layers[3])[:, 0])
        through = back[:, None] * layers[2][:, 0] * (hidden > 0)
        value += 0.5 * DECAY * float((layers[0] ** 2).sum() + (layers[2] ** 2).sum())
        slopes = (
            given.T @ through + DECAY * layers[0],
            through.sum(axis=0),
            hidden.T @ back[:, None] + DECAY * layers[2],
            back.sum(keepdims=True),
        )
        return value, np.concatenate([slope.ravel() for slope in slopes])

    start = np.concatenate([layer.ravel() for layer in first])
    with one_blas_thread():
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options={"maxiter": STEPS})
    return [layer.astype(np.float32) for layer in layers_of(found.x)]


def temperature_loss(
    joined: NDArray[np.float64], truth: NDArray[np.intp], log_temperature: NDArray[np.float64]
) -> tuple[float, NDArray[np.float64]]:
    """Give the mean of minus the logarithm of the probability of the truth, and its slopes.

    Parameters
    ----------
    joined : array, shape (N, classes)
        Logits.
    truth : array of int, shape (N,)
    log_temperature : array, shape (N,)

    Returns
    -------
    loss, and array of its derivatives by `log_temperature`, shape (N,)
    """
    scaled = joined * np.exp(-log_temperature)[:, None]
    log_p = log_probabilities(scaled)
    rows = np.arange(len(truth))
    slopes = scaled[rows, truth] - (np.exp(log_p) * scaled).sum(axis=1)
    return float(-log_p[rows, truth].mean()), slopes / len(truth)
