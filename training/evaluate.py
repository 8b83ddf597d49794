"""Measure a bundle on fresh simulated frames that no training ever drew."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from simulated_devices import grid_by_name
from speckle_plugin.classifier import Classifier
from speckle_plugin.models import Bundle
from speckle_plugin.preprocessing import FrameGeometry
from training.frames import balanced_set
from training.recipe import FrameRecipe

__all__ = ["evaluate"]


def evaluate(
    bundle: Bundle,
    recipe: FrameRecipe,
    per_class: int,
    seed: int,
    report: Callable[[str, int, int, dict[str, float]], None] | None = None,
    batch: int = 32,
) -> dict[str, Any]:
    """Classify `per_class` fresh frames of every disk number.

    Parameters
    ----------
    bundle : Bundle
    recipe : FrameRecipe
        Which frames.
    per_class, seed : int
        The test set is made from the seed; its stream is never used for training.
    report : callable, optional
        Told of the progress.

    Returns
    -------
    dict
        Plain numbers: accuracy, within_one, errors, precision, recall and F1 (macro
        means and per class), the confusion matrix (truth in rows).
    """
    classifier = Classifier(bundle)
    grid = grid_by_name(recipe.grid, recipe.size)
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    total = per_class * len(recipe.disk_numbers)
    truth: list[int] = []
    found: list[int] = []
    confidence: list[float] = []
    frames = balanced_set(recipe, per_class, seed, "test")
    while chunk := list(itertools.islice(frames, batch)):
        posterior = classifier.classify(np.stack([drawn.frame for drawn in chunk]), geometry)
        truth += [drawn.disk_number for drawn in chunk]
        found += posterior.disk_number.tolist()
        confidence += posterior.confidence.tolist()
        if report:
            report("test", len(truth), total, {"accuracy": float(np.mean(np.equal(truth, found)))})
    off = np.abs(np.subtract(truth, found))
    labels = list(recipe.disk_numbers)
    precision, recall, f1, _ = precision_recall_fscore_support(truth, found, labels=labels, zero_division=0)
    return {
        "frames": total,
        "seed": seed,
        "families": list(recipe.families),
        "grid": f"{recipe.grid} {recipe.size}",
        "errors": int((off > 0).sum()),
        "accuracy": float((off == 0).mean()),
        "within_one": float((off <= 1).mean()),
        "mean_confidence": float(np.mean(confidence)),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "per_class": {
            "disk_number": labels,
            "precision": precision.tolist(),
            "recall": recall.tolist(),
            "f1": f1.tolist(),
        },
        "confusion_matrix": confusion_matrix(truth, found, labels=labels).tolist(),
    }
