"""Fit what makes a bundle honest: the temperature of its confidences, and what it knows.

Both are fitted on frames of their own, which neither training nor tests ever draw.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines import NetworkOutput, make_engine
from speckle_plugin.network.posterior import join_views
from speckle_plugin.preprocessing import prepare
from training.fits import fit_statistics
from training.frames import DrawnFrame, balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["LEAST_FOR_STATISTICS", "PER_CLASS", "calibrate", "calibrate_on", "fit_temperature"]

PER_CLASS = 100
RANK = 48

LEAST_FOR_STATISTICS = 4 * RANK
"""Frames without which features can't be described, nor unknown frames be told."""

FALSE_ALARMS = 0.01
"""Share of known frames whose novelty is above the threshold."""


def calibrate(bundle: Bundle, recipe: FrameRecipe, seed: int, report: Report | None = None) -> Bundle:
    """Give the bundle with temperature and feature statistics fitted on simulated frames."""
    frames = balanced_set(recipe, PER_CLASS, seed, "calibration")
    return calibrate_on(bundle, frames, PER_CLASS * len(recipe.disk_numbers), report)


def calibrate_on(
    bundle: Bundle, frames: Iterable[DrawnFrame], total: int, report: Report | None = None
) -> Bundle:
    """Give the bundle with temperature and feature statistics fitted.

    Every other frame gives the statistics, and the rest the threshold, so that the threshold
    holds for frames on which nothing was fitted.

    Parameters
    ----------
    bundle : Bundle
    frames : iterable of DrawnFrame
        Such as the bundle is made for, in an order that mixes them; none of them trained on.
    total : int
        How many there are.
    report : callable, optional
        Told of the progress.

    Returns
    -------
    Bundle
        Without feature statistics where there are fewer than `LEAST_FOR_STATISTICS` frames.
    """
    engine = make_engine(bundle)
    outputs: list[NetworkOutput] = []
    classes: list[int] = []
    for done, (frame, geometry, disk_number) in enumerate(frames, start=1):
        output = engine.run(prepare(frame, bundle.preprocessing, geometry)[0])
        outputs.append(output)
        classes.append(bundle.classes.index(disk_number))
        if report:
            report("calibrate", done, total, {})
    temperature = fit_temperature([output.logits for output in outputs], classes)
    bundle = replace(bundle, temperature=temperature, feature_statistics=None)
    if len(outputs) < LEAST_FOR_STATISTICS:
        return bundle
    statistics = fit_statistics(np.concatenate([output.features for output in outputs[::2]]), RANK)
    novelty = [statistics.distances(output.features).mean() for output in outputs[1::2]]
    threshold = float(np.quantile(novelty, 1.0 - FALSE_ALARMS))
    return replace(bundle, feature_statistics=replace(statistics, threshold=threshold))


def fit_temperature(logits: Sequence[NDArray[np.floating]], classes: Sequence[int]) -> float:
    """Give the temperature at which frames are most likely to be of their classes.

    Parameters
    ----------
    logits : sequence of array, each of shape (views, classes)
        What the network says of the views of each frame; they are joined as in the classifier.
    classes : sequence of int
        Index of the true class of each frame.

    Notes
    -----
    Source: Guo et al., On calibration of modern neural networks, ICML 2017.
    """
    by_views: dict[int, tuple[list[NDArray[np.floating]], list[int]]] = {}
    for views, true in zip(logits, classes, strict=True):
        frames, truth = by_views.setdefault(len(views), ([], []))
        frames.append(views)
        truth.append(true)
    groups = [(np.stack(frames), np.array(truth)) for frames, truth in by_views.values()]

    def loss(log_temperature: float) -> float:
        return -sum(
            float(join_views(frames, np.exp(log_temperature))[np.arange(len(truth)), truth].sum())
            for frames, truth in groups
        )

    return float(np.exp(minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded").x))
