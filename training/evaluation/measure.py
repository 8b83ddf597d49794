"""Measure a bundle on frames that no training ever drew: the frames classified, and their scores."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.network.posterior import Posterior
from speckle_plugin.network.trust.calibration import possible_classes
from speckle_plugin.network.trust.judge import judge
from speckle_plugin.preprocessing import prepare
from training.frames import DrawnFrame, balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["Predictions", "evaluate", "predict", "reliability_curve", "scores"]

BATCH = 32
RELIABILITY_BINS = 10


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a classifier said of N frames whose disk number is known.

    Parameters
    ----------
    classes : tuple of int
    truth : array of int, shape (N,)
    probabilities : array, shape (N, classes)
    novelty : array, shape (N,)
    seconds : float
        That preparing and classifying all of them took.
    possible : array of bool, shape (N, classes), optional
        Which disk numbers are possible; none where nothing tells.
    by_temperature : array, shape (N, classes), optional
        Probabilities by the bundle's temperature alone, where those are others.
    """

    classes: tuple[int, ...]
    truth: NDArray[np.int64]
    probabilities: NDArray[np.float32]
    novelty: NDArray[np.float32]
    seconds: float = 0.0
    possible: NDArray[np.bool_] | None = None
    by_temperature: NDArray[np.float32] | None = None

    @classmethod
    def join(cls, parts: Sequence[Predictions]) -> Predictions:
        """Put predictions of the same classes together, in their order."""
        sets = [part.possible for part in parts if part.possible is not None]
        plain = [part.with_one_temperature().probabilities for part in parts]
        return cls(
            parts[0].classes,
            np.concatenate([part.truth for part in parts]),
            np.concatenate([part.probabilities for part in parts]),
            np.concatenate([part.novelty for part in parts]),
            sum(part.seconds for part in parts),
            np.concatenate(sets) if len(sets) == len(parts) else None,
            np.concatenate(plain),
        )

    def with_one_temperature(self) -> Predictions:
        """Give what the network alone would say with the bundle's temperature."""
        plain = self.probabilities if self.by_temperature is None else self.by_temperature
        return replace(self, probabilities=plain, possible=None)

    @property
    def found(self) -> NDArray[np.int64]:
        """Most probable disk number of each frame, shape (N,)."""
        return np.asarray(self.classes)[self.probabilities.argmax(axis=1)]

    @property
    def accuracy(self) -> float:
        """Share of the frames whose disk number was found."""
        return float((self.found == self.truth).mean())

    @property
    def within_one(self) -> float:
        """Share of the frames whose disk number was missed by one at most."""
        return float((np.abs(self.found - self.truth) <= 1).mean())


def predict(
    classifier: Classifier,
    frames: Iterable[DrawnFrame],
    total: int = 0,
    report: Report | None = None,
    what: str = "test",
) -> Predictions:
    """Classify frames, each by its own geometry.

    Parameters
    ----------
    classifier : Classifier
    frames : iterable of DrawnFrame
    total : int
        How many there will be, for the report.
    report : callable, optional
        Told of the progress, under the name `what`.
    """
    truth: list[int] = []
    probabilities: list[NDArray[np.float32]] = []
    novelty: list[NDArray[np.float32]] = []
    by_temperature: list[NDArray[np.float32]] = []
    possible: list[NDArray[np.bool_]] = []
    right, seconds = 0, 0.0
    for chunk in _chunks(frames):
        started = time.perf_counter()
        posteriors = _classify(classifier, chunk)
        seconds += time.perf_counter() - started
        for drawn, posterior, plain in posteriors:
            truth.append(drawn.disk_number)
            probabilities.append(posterior.probabilities)
            novelty.append(posterior.novelty)
            by_temperature.append(plain)
            right += int(posterior.disk_number[0] == drawn.disk_number)
            if posterior.limit is not None:
                possible.append(possible_classes(posterior.probabilities, posterior.limit))
        if report:
            report(what, len(truth), total, {"accuracy": right / len(truth)})
    if not truth:
        raise ValueError("there are no frames to measure on: give at least one")
    return Predictions(
        classifier.bundle.classes,
        np.array(truth),
        np.concatenate(probabilities),
        np.concatenate(novelty),
        seconds,
        np.concatenate(possible) if len(possible) == len(truth) else None,
        np.concatenate(by_temperature),
    )


def _classify(
    classifier: Classifier, chunk: Sequence[DrawnFrame]
) -> list[tuple[DrawnFrame, Posterior, NDArray[np.float32]]]:
    """Classify frames that may each have a mask of its own; the network sees them at once.

    The probabilities beside each posterior, shape (1, classes), are by the bundle's temperature alone.
    """
    bundle = classifier.bundle
    inputs = np.concatenate([prepare(d.frame, bundle.preprocessing, d.geometry) for d in chunk])
    output, views = classifier.run(inputs), inputs.shape[1]
    plain = classifier.posterior(output, views).probabilities
    posteriors = []
    for place, drawn in enumerate(chunk):
        own = slice(place * views, (place + 1) * views)
        of_frame = NetworkOutput(output.logits[own], output.features[own])
        given = inputs[place : place + 1]
        judgement = judge(classifier.trust, bundle, [drawn.frame], given, of_frame, drawn.geometry)
        posterior = classifier.posterior(of_frame, views, judgement)
        posteriors.append((drawn, posterior, plain[place : place + 1]))
    return posteriors


def _chunks(frames: Iterable[DrawnFrame]) -> Iterator[list[DrawnFrame]]:
    remaining = iter(frames)
    while chunk := list(itertools.islice(remaining, BATCH)):
        yield chunk


def evaluate(
    bundle: Bundle,
    recipe: FrameRecipe,
    per_class: int,
    seed: int,
    report: Report | None = None,
    *,
    alone: bool = False,
) -> dict[str, Any]:
    """Classify `per_class` fresh frames of every disk number, and give the scores.

    Parameters
    ----------
    bundle : Bundle
    recipe : FrameRecipe
        Which frames.
    per_class, seed : int
        The test set is made from the seed; its stream is never used for training.
    report : callable, optional
        Told of the progress.
    alone : bool
        Whether only the network speaks, see :class:`speckle_plugin.network.classifier.Classifier`.

    Returns
    -------
    dict
        Those of :func:`scores`, with the seed and what the frames were.
    """
    total = per_class * len(recipe.disk_numbers)
    frames = balanced_set(recipe, per_class, seed, "test")
    predictions = predict(Classifier(bundle, alone=alone), frames, total, report)
    return {
        "seed": seed,
        "families": list(recipe.families),
        "grid": f"{recipe.grid} {recipe.size}",
        **scores(predictions),
    }


def scores(predictions: Predictions) -> dict[str, Any]:
    """Give the scores of predictions as plain numbers.

    Returns
    -------
    dict
        frames, errors, accuracy, within_one, off_by_more_than_one and _two (frames), precision,
        recall and f1 (macro means, and `per_class`), mean_confidence, expected_calibration_error,
        cross_entropy, seconds_per_frame, the confusion matrix (truth in rows), and, where sets of possible
        numbers were fitted, coverage (share of the frames whose set holds the truth) and mean_set_size.
    """
    truth, found = predictions.truth, predictions.found
    off = np.abs(truth - found)
    labels = list(predictions.classes)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, labels=labels, zero_division=0)
    present = np.isin(labels, truth)
    known = np.isin(truth, labels)
    p_truth = predictions.probabilities[known, np.searchsorted(labels, truth[known])]
    curve = reliability_curve(predictions)
    sets = {}
    if predictions.possible is not None:
        held = predictions.possible[known, np.searchsorted(labels, truth[known])]
        sets = {
            "coverage": float(held.sum() / len(truth)),
            "mean_set_size": float(predictions.possible.sum(axis=1).mean()),
        }
    return {
        "frames": len(truth),
        "errors": int((off > 0).sum()),
        "accuracy": predictions.accuracy,
        "within_one": predictions.within_one,
        "off_by_more_than_one": int((off > 1).sum()),
        "off_by_more_than_two": int((off > 2).sum()),
        "mean_confidence": float(predictions.probabilities.max(axis=1).mean()),
        "expected_calibration_error": curve["expected_calibration_error"],
        **sets,
        "cross_entropy": float(-np.log(np.maximum(p_truth, 1e-30)).mean()),
        "seconds_per_frame": predictions.seconds / len(truth),
        "precision": float(precision[present].mean()),
        "recall": float(recall[present].mean()),
        "f1": float(f1[present].mean()),
        "per_class": {
            "disk_number": labels,
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
        },
        "confusion_matrix": confusion_matrix(truth, found, labels=labels).tolist(),
    }


def reliability_curve(predictions: Predictions) -> dict[str, Any]:
    """Compare confidence with accuracy in bins of equal width.

    Returns
    -------
    dict
        `confidence`, `accuracy` and `frames` of each bin that has frames, and the
        expected_calibration_error.

    Notes
    -----
    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    confidence = predictions.probabilities.max(axis=1)
    right = predictions.found == predictions.truth
    place = np.minimum((confidence * RELIABILITY_BINS).astype(int), RELIABILITY_BINS - 1)
    bins = [place == b for b in range(RELIABILITY_BINS) if (place == b).any()]
    means = [float(confidence[b].mean()) for b in bins]
    accuracies = [float(right[b].mean()) for b in bins]
    counts = [int(b.sum()) for b in bins]
    gaps = np.abs(np.subtract(means, accuracies))
    return {
        "confidence": means,
        "accuracy": accuracies,
        "frames": counts,
        "expected_calibration_error": float(np.average(gaps, weights=counts)),
    }
