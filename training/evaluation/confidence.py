"""The study of confidences: how far to believe them, family by family, and the sets of possible numbers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from simulated_devices import Family
from training.evaluation.measure import Predictions, reliability_curve, scores
from training.evaluation.study import Study

__all__ = ["PHOTONS", "by_chance", "confidence"]

PHOTONS = {"no noise": 0.0, "10^5 photons": 1e5, "10^4 photons": 1e4}
SIZES = (257, 513)
REPETITIONS = 20


def confidence(study: Study) -> dict[str, Any]:
    """Compare confidence with accuracy for every family, noise and size, and see whether sets hold the truth.

    The calibration error of a finite set is above 0 even where every confidence is right; `by_chance` is what
    it would be then. Beside it the error with one temperature for all frames.
    """
    classifier = study.classifier()
    found: dict[str, Any] = {}
    for size in SIZES:
        for family in Family:
            for noise, photons in PHOTONS.items():
                what = f"{family}, {noise}, {size} x {size}"
                changes: dict[str, Any] = {"families": (family.value,), "shares": (), "size": size}
                if photons:
                    changes |= {"photons": (photons, photons), "noisy_share": 1.0}
                sets = [study.measure(what, classifier, seed, **changes) for seed in study.seeds]
                found[what] = _row(Predictions.join(sets))
    return found


def _row(predictions: Predictions) -> dict[str, Any]:
    whole = scores(predictions)
    return {
        "frames": whole["frames"],
        "accuracy": whole["accuracy"],
        "mean_confidence": whole["mean_confidence"],
        "one_temperature": scores(predictions.with_one_temperature())["expected_calibration_error"],
        "calibration_error": whole["expected_calibration_error"],
        "by_chance": by_chance(predictions),
        **{key: whole[key] for key in ("coverage", "mean_set_size") if key in whole},
    }


def by_chance(predictions: Predictions) -> float:
    """Give the mean calibration error of as many frames whose confidences are all right."""
    rng = np.random.default_rng(0)
    stated = predictions.probabilities.max(axis=1)
    right = rng.random((REPETITIONS, len(stated))) < stated
    found = predictions.found
    errors = [
        reliability_curve(replace(predictions, truth=np.where(of, found, -1)))["expected_calibration_error"]
        for of in right
    ]
    return float(np.mean(errors))
