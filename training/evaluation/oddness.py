"""The study of odd frames: whether they are told from known ones, by which detector, and in what."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from simulated_devices import Family
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.trust.judge import judge
from speckle_plugin.schema import Flag
from training.evaluation.study import Study
from training.evaluation.unknowns import FAULT_PHOTONS, FAULTS, UNKNOWNS, unknown_frames
from training.frames import DrawnFrame, balanced_set
from training.recipe import frame_recipe_of

__all__ = ["oddness"]

UNKNOWN_FRAMES = 200
KNOWN_SHARE = 4
"""Known frames for one unknown one."""

SCORES = ("joined", "features", "statistics", "perceptron", "novelty", "confidence", "energy")


def oddness(study: Study) -> dict[str, Any]:
    """Take frames that the bundle was not made for, and see whether they are told, and in what they are odd.

    The score `joined` is that of :class:`speckle_plugin.network.trust.Oddness`, by which frames are flagged;
    beside it those of its three detectors, `features`, `statistics` and `perceptron`, and what a network
    alone offers: `novelty` (distance of the features), `confidence` (one minus the largest probability) and
    `energy` (minus the logarithm of the summed exponentials of the logits). Each is told from known frames
    of the same families, with as much photon noise. False alarms are those on frames as in training.
    """
    classifier = study.classifier()
    if study.bundle.feature_statistics is None:
        return {}
    classes = len(study.recipe.disk_numbers)
    per_class = max(1, min(UNKNOWN_FRAMES // classes, study.per_class))
    count = per_class * classes
    recipe = study.recipe
    counted = replace(recipe, photons=(FAULT_PHOTONS, FAULT_PHOTONS), noisy_share=1.0)
    known, known_counted, trained = (
        _score_set(classifier, balanced_set(frames, KNOWN_SHARE * per_class, study.seeds[0], "known"))
        for frames in (recipe, counted, frame_recipe_of(study.bundle))
    )
    found: dict[str, Any] = {
        "false_alarms": _flagged(trained),
        "known_frames": len(trained["joined"]),
        "kinds": {},
    }
    sets = {kind: unknown_frames(kind, recipe, count, study.seeds[0]) for kind in UNKNOWNS}
    for family in Family:
        if family.value not in study.recipe.families:
            other = replace(recipe, families=(family.value,), shares=())
            sets[f"family {family.value}"] = balanced_set(other, per_class, study.seeds[0], "known")
    for done, (kind, frames) in enumerate(sets.items(), start=1):
        few = list(itertools.islice(frames, study.solver.frames if study.solver else 0))
        unknown = _score_set(classifier, itertools.chain(few, frames))
        beside = known_counted if kind in FAULTS else known
        truth = np.repeat([0, 1], [len(beside["joined"]), len(unknown["joined"])])
        flags, counts = np.unique(unknown["flag"][unknown["joined"] > 1], return_counts=True)
        found["kinds"][kind] = {
            "area_under_roc": {
                name: float(roc_auc_score(truth, np.concatenate([beside[name], unknown[name]])))
                for name in SCORES
            },
            "flagged": _flagged(unknown),
            "said": str(flags[counts.argmax()]) if len(flags) else "",
        }
        if study.solver is not None:
            found["kinds"][kind]["structure"] = study.solver.measure_frames(few, recipe, study.report, kind)
        if study.report:
            study.report("unknown frames", done, len(sets), {})
    return found


def _flagged(scores_of: dict[str, NDArray[Any]]) -> float:
    return float((scores_of["joined"] > 1).mean())


def _score_set(classifier: Classifier, frames: Iterable[DrawnFrame]) -> dict[str, NDArray[Any]]:
    statistics = classifier.bundle.feature_statistics
    threshold = statistics.threshold if statistics else np.inf
    rows, flags = [], []
    for frame, geometry, _ in frames:
        inputs = classifier.prepare(frame, geometry)
        output = classifier.engine.run(inputs[0])
        largest = output.logits.max(axis=1)
        energy = -(largest + np.log(np.exp(output.logits - largest[:, None]).sum(axis=1)))
        judgement = judge(classifier.trust, classifier.bundle, [frame], inputs, output, geometry)
        posterior = classifier.posterior(output, len(output.logits), judgement)
        if judgement is None:  # nothing was fitted beside the bundle: its own threshold flags
            joined, detectors = posterior.novelty[0] / threshold, np.full(3, posterior.novelty[0])
            flags.append(str(Flag.ODD_FEATURES))
        else:
            verdict = judgement.verdict
            joined, detectors = verdict.score[0], verdict.detectors[0]
            flags.append(str(verdict.flags[0]))
        rows.append((joined, *detectors, posterior.novelty[0], 1.0 - posterior.confidence[0], energy.mean()))
    columns = np.array(rows, dtype=np.float64).T
    return {**dict(zip(SCORES, columns, strict=True)), "flag": np.array(flags)}
