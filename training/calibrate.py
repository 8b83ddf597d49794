"""Fit what makes a bundle honest: the temperature of its confidences, and what it knows.

Both are fitted on frames of their own, which neither training nor tests ever draw.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from sklearn.decomposition import PCA

from speckle_plugin.classifier import Classifier
from speckle_plugin.engines import NetworkOutput
from speckle_plugin.models import Bundle, FeatureStatistics
from speckle_plugin.preprocessing import prepare
from training.evaluate import Report
from training.frames import DrawnFrame, balanced_set
from training.recipe import FrameRecipe

__all__ = ["calibrate", "fit_statistics", "fit_temperature"]

PER_CLASS = 100
RANK = 48
FALSE_ALARMS = 0.01
"""Share of known frames whose novelty is above the threshold."""


def calibrate(bundle: Bundle, recipe: FrameRecipe, seed: int, report: Report | None = None) -> Bundle:
    """Give the bundle with temperature and feature statistics fitted.

    The frames of one half give the statistics, those of the other the threshold, so that the
    threshold holds for frames on which nothing was fitted.
    """
    classifier = Classifier(replace(bundle, temperature=1.0, feature_statistics=None))
    total = PER_CLASS * len(recipe.disk_numbers)
    frames = balanced_set(recipe, PER_CLASS, seed, "calibration")
    index = {n: i for i, n in enumerate(bundle.classes)}
    outputs: list[NetworkOutput] = []
    classes: list[int] = []
    for done, (views, disk_number) in enumerate(_views(classifier, frames), start=1):
        outputs.append(views)
        classes += [index[disk_number]] * len(views.logits)
        if report:
            report("calibrate", done, total, {})
    logits = np.concatenate([output.logits for output in outputs])
    features = np.concatenate([output.features for output in outputs])
    temperature = fit_temperature(logits, np.array(classes))
    first = np.arange(len(features)) % 2 == 0
    statistics = fit_statistics(features[first])
    threshold = float(np.quantile(statistics.distances(features[~first]), 1.0 - FALSE_ALARMS))
    return replace(
        bundle, temperature=temperature, feature_statistics=replace(statistics, threshold=threshold)
    )


def _views(classifier: Classifier, frames: Iterable[DrawnFrame]) -> Iterable[tuple[NetworkOutput, int]]:
    for frame, geometry, disk_number in frames:
        views = prepare(frame, classifier.bundle.preprocessing, geometry)[0]
        yield classifier.engine.run(views), disk_number


def fit_temperature(logits: NDArray[np.float32], classes: NDArray[np.int64]) -> float:
    """Give the temperature at which the softmax of the logits is most likely to give the classes.

    Parameters
    ----------
    logits : array, shape (N, classes)
    classes : array of int, shape (N,)
        Indices of the true classes.

    Notes
    -----
    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        scaled = scaled - scaled.max(axis=1, keepdims=True)
        log_p = scaled - np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -float(log_p[np.arange(len(classes)), classes].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))


def fit_statistics(features: NDArray[np.float32]) -> FeatureStatistics:
    """Fit mean and covariance to features, shape (N, features); the threshold is left infinite."""
    model = PCA(n_components=RANK, random_state=0).fit(features.astype(np.float64))
    return FeatureStatistics(
        mean=model.mean_.astype(np.float32),
        components=model.components_.astype(np.float32),
        variances=model.explained_variance_.astype(np.float32),
        noise_variance=float(model.noise_variance_),
        threshold=np.inf,
    )
