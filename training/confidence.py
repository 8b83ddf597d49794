"""Fit how sure a network may be of each frame, beside a bundle whose weights stay as they are.

The frames are of all families of simulated disks, without noise, with many photons and with few, whatever
the bundle was trained on. Each third of them is told its families by a perceptron that learned from the
others; the temperatures, and the limit of possible numbers, are fitted to what is told so. They are to be
right for each family and noise by itself.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.stats import beta

from simulated_devices import Family
from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.network import Bundle
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Calibration
from speckle_plugin.network.trust.calibration import (
    PHOTONS,
    TEMPERATURES,
    brief_inputs,
    probable_families,
    temperatures_by,
)
from speckle_plugin.network.trust.oddness import log_probabilities
from training.fits import fit_layers
from training.frames import DrawnFrame, balanced_set
from training.looks import Seen
from training.recipe import FrameRecipe

__all__ = [
    "COVERAGE",
    "GROUPS",
    "SPOILED",
    "Families",
    "fit_calibration",
    "fit_families",
    "graded_frames",
    "temperature_loss",
]

NOISE: dict[str, tuple[float, ...]] = {
    "no noise": (),
    "many photons": (2e4, 1e6),
    "few photons": (7e3, 2e4),
}
"""Photons in the frame, drawn on a logarithmic scale."""

GROUPS = tuple(itertools.product((family.value for family in Family), NOISE))
"""Family and noise of each group, each of which is to be right by itself."""

SPOILED = 0.5
"""Share of the offsets and masks of a bundle's recipe that graded frames have: most are measured without."""

COVERAGE = 0.95
"""Share of the frames whose set holds the truth, in each group."""

ASSURANCE = 0.95
"""Probability that a group has this share, by as many frames as gave the limit."""

FAMILY_LAYER = 32
FAMILY_DECAY = 1.0
EPOCHS = 20
PARTS = 3
HIDDEN = 24
DECAY = 1e-4
STEPS = 500

STRICTNESS = 100.0
"""How much it counts that the confidences of a group are right, beside the probability of the truth."""


Moments = Sequence[tuple[NDArray[np.intp], NDArray[np.float64]]]
"""Frames of each group, and the weights of their differences of confidence and right label."""


def graded_frames(
    recipe: FrameRecipe,
    seed: int,
    per_class: int,
    groups: Iterable[int] = range(len(GROUPS)),
    stream: str = "trust graded",
) -> Iterator[tuple[int, DrawnFrame]]:
    """Yield frames with the place of their group in `GROUPS`, `per_class` of each disk number in each.

    Parameters
    ----------
    recipe : FrameRecipe
        That of the bundle: its grid and disk numbers are taken, and `SPOILED` of its offsets and masks.
    seed, per_class : int
    groups : iterable of int, optional
        Some of them.
    stream : str
        Those of another one show other disks.
    """
    for group in groups:
        family, noise = GROUPS[group]
        photons = NOISE[noise]
        kind = replace(
            recipe,
            families=(family,),
            shares=(),
            photons=photons,
            noisy_share=1.0,
            offset_share=SPOILED * recipe.offset_share,
            masked_share=SPOILED * recipe.masked_share,
        )
        for drawn in balanced_set(kind, per_class, seed, stream):
            yield group, drawn


def fit_calibration(
    bundle: Bundle,
    inputs: NDArray[np.float32],
    seen: Seen,
    families: Families,
    logits: NDArray[np.floating] | None = None,
) -> Calibration:
    """Fit temperatures and the limit of possible numbers.

    Parameters
    ----------
    bundle : Bundle
    inputs : array, shape (N, inputs)
        What perceptrons are given of the frames, see :class:`speckle_plugin.network.trust.Verdict`.
    seen : Seen
        Of :func:`graded_frames`.
    families : Families
        Of :func:`fit_families`, of these frames.
    logits : array, shape (N, views, classes), optional
        That are to be divided by the temperatures; by default the network's.
    """
    logits = seen.look.logits if logits is None else logits
    truth, groups = np.searchsorted(bundle.classes, seen.disk_numbers), seen.groups
    told = brief_inputs(inputs, families.probable, logits, seen.masked)
    joined = join_views(logits, 1.0)
    sure = join_views(logits, bundle.temperature).max(axis=1)
    moments = _moments(np.exp(sure), inputs[:, PHOTONS.start], groups)
    layers = _fit_temperatures(told, joined, truth, moments)
    temperatures = temperatures_by(told, layers)
    p = np.exp(join_views(logits, temperatures[:, None, None]))
    p_truth = p[np.arange(len(truth)), truth]
    limit = min(_limit(p_truth[groups == g]) for g in np.unique(groups))
    return Calibration(families.layers, layers, limit)


class Families(NamedTuple):
    """What tells the families of disks, and what is told of the frames that it was fitted to."""

    layers: list[NDArray[np.float32]]
    """Weights and biases of a perceptron, in turns."""

    probable: NDArray[np.float64]
    """How probable each family is, shape (N, families), by one that learned from others of the frames."""


def fit_families(inputs: NDArray[np.float32], groups: NDArray[np.int64]) -> Families:
    """Fit what tells the families of frames, shape (N, inputs), of groups in `GROUPS`."""
    of_family, part = groups // len(NOISE), _place_in_group(groups) % PARTS
    layers = fit_layers(inputs, of_family, (FAMILY_LAYER,), FAMILY_DECAY, EPOCHS)
    probable = np.empty((len(groups), layers[-1].size))
    for number in range(PARTS):
        here = part == number
        of_others = fit_layers(inputs[~here], of_family[~here], (FAMILY_LAYER,), FAMILY_DECAY, EPOCHS)
        probable[here] = probable_families(inputs[here], of_others)
    return Families(layers, probable)


def _place_in_group(groups: NDArray[np.int64]) -> NDArray[np.intp]:
    """Count the frames of each group: those of one place show the same disks, with other noise or without."""
    places = np.empty(len(groups), np.intp)
    for group in np.unique(groups):
        frames = np.flatnonzero(groups == group)
        places[frames] = np.arange(len(frames))
    return places


def _moments(
    confidence: NDArray[np.float64], photons: NDArray[np.floating], groups: NDArray[np.int64]
) -> Moments:
    """Give the frames of each group, and weights by which confidences and right labels are compared.

    The weights, shape (5, frames), take the mean over the group, whether it rises with the confidence by the
    bundle's temperature, whether it bends, and both for the photons, too: their number is drawn from a wide
    range in a group, and confidences are to be right at each.
    """
    found = []
    for group in np.unique(groups):
        frames = np.flatnonzero(groups == group)
        weights = [np.ones(len(frames))]
        for by in (confidence, photons):
            x = by[frames] - by[frames].mean()
            x = x / (x.std() + 1e-3)
            weights += [x, x**2 - (x**2).mean()]
        found.append((frames, np.stack(weights) / len(frames)))
    return found


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


def _fit_temperatures(
    inputs: NDArray[np.float32],
    joined: NDArray[np.float64],
    truth: NDArray[np.intp],
    moments: Moments,
) -> list[NDArray[np.float32]]:
    """Fit a perceptron of one hidden layer: the truth is to be probable, the confidence of a group right."""
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
        wanted = (hidden @ layers[2] + layers[3])[:, 0]
        log_temperature = np.clip(wanted, *np.log(TEMPERATURES))  # as `temperatures_by` does
        value, back = temperature_loss(joined, truth, log_temperature, moments)
        back = np.where(wanted == log_temperature, back, 0.0)
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
    joined: NDArray[np.float64],
    truth: NDArray[np.intp],
    log_temperature: NDArray[np.float64],
    moments: Moments = (),
) -> tuple[float, NDArray[np.float64]]:
    """Give how wrong probabilities are, and the slopes of that.

    It is the mean of minus the logarithm of the probability of the truth, and, of each group, the squares of
    the differences of confidence and right labels.

    Parameters
    ----------
    joined : array, shape (N, classes)
        Logits.
    truth : array of int, shape (N,)
    log_temperature : array, shape (N,)
    moments : sequence of (frames, weights)
        Frames of each group, and weights of shape (moments, frames).

    Returns
    -------
    loss, and array of its derivatives by `log_temperature`, shape (N,)
    """
    scaled = joined * np.exp(-log_temperature)[:, None]
    log_p = log_probabilities(scaled)
    rows = np.arange(len(truth))
    middle = (np.exp(log_p) * scaled).sum(axis=1)
    value = float(-log_p[rows, truth].mean())
    slopes = (scaled[rows, truth] - middle) / len(truth)
    label = joined.argmax(axis=1)
    confidence = np.exp(log_p[rows, label])
    off, falls = confidence - (label == truth), -confidence * (scaled[rows, label] - middle)
    for frames, weights in moments:
        gaps = weights @ off[frames]
        value += STRICTNESS / len(moments) * float((gaps**2).sum())
        slopes[frames] += 2.0 * STRICTNESS / len(moments) * (gaps @ weights) * falls[frames]
    return value, slopes
