"""Train a network further, on frames that were stored, and measure it beside its parent.

The loop of the project closes here: live results are stored, runs are found by a query,
their labelled frames train a child of the network, which classifies the next scan. Use
:func:`retrain`; the frames come from :mod:`training.stored_frames`.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.trust import find_trust
from training.calibrate import LEAST_FOR_STATISTICS, PER_CLASS, calibrate_on
from training.evaluation.measure import Predictions, evaluate, predict, scores
from training.frames import DrawnFrame, generator, stream
from training.progress import Report
from training.recipe import FrameRecipe, TrainingRecipe, stored_frame_recipe
from training.retrain_checks import Say, check_geometry, check_labels, leave_out_unfit
from training.run_split import split_by_run, together
from training.stored_frames import LabelledFrames
from training.train import train
from training.workers import place_among_workers

__all__ = ["Mixture", "retrain", "set_aside"]

SET_ASIDE = 8
"""One training frame in this many is not trained on: confidences are calibrated on those."""

LEAST_GROUPS = 4
"""From this many runs on (or groups of runs that show the same disks), whole runs are set aside for that."""

MOST_FOR_VALIDATION = 400
STEPS_PER_EPOCH = 50
SUFFIX = "-retrained"


def retrain(
    parent: Bundle,
    labelled: LabelledFrames,
    folder: Path | str,
    *,
    simulated_share: float = 0.5,
    held_out_share: float = 0.2,
    steps: int = 200,
    batch: int | None = None,
    learning_rate: float = 5e-4,
    test_per_class: int = 20,
    seed: int = 0,
    selection: Mapping[str, Any] | None = None,
    report: Report | None = None,
    say: Say | None = None,
) -> Bundle:
    """Fine-tune a bundle on stored frames, measure parent and child alike, and write the child.

    The frames are split by run. Those to train on are mixed with fresh simulated ones of the
    parent's recipe, so that the child does not forget what they do not show. An interrupted
    retraining goes on when it is called again with the same arguments.

    Parameters
    ----------
    parent : Bundle
    labelled : LabelledFrames
    folder : path
        For checkpoints, logs and the child.
    simulated_share : float
        Share of simulated frames in training, from 0 to below 1; 0 where the parent does not say
        of which simulated frames it was made.
    held_out_share : float
        Share of the stored frames, in whole runs, to measure on.
    steps, batch : int
        Updates of the weights, rounded up to whole epochs, and network inputs in each; by default
        the parent's batch.
    learning_rate : float
        Highest one of the one-cycle schedule.
    test_per_class : int
        Fresh simulated frames of each disk number to measure on.
    seed : int
        Of split, order, simulated frames.
    selection : mapping, optional
        Where the frames come from, in plain values (store, query, labels), for the provenance.
    report : callable, optional
        Told of the progress.
    say : callable, optional
        Told, a line at a time, what was split how, and what is missing.

    Returns
    -------
    Bundle
        The child, as written to `folder`. Its metrics hold `held_out` and `parent_held_out`, and
        with simulated frames `test` and `parent_test`, all of the networks alone; `training["origin"]` its
        provenance.

    Raises
    ------
    ValueError
        If the frames are too few, of one run or one disk number, or nothing for this parent; or
        the folder holds another training.
    """
    say = say or _ignore
    if not 0 <= simulated_share < 1:
        raise ValueError(f"the share of simulated frames must be from 0 to below 1, not {simulated_share}")
    if steps < 1 or test_per_class < 1:
        raise ValueError(f"steps and test frames must be at least 1, not {steps} and {test_per_class}")
    simulated = stored_frame_recipe(parent)
    if simulated is None and simulated_share:
        say(
            f"the parent {parent.name!r} does not say of which simulated frames it was made: "
            "the child is trained and measured on stored frames only"
        )
        simulated_share = 0.0
    if place_among_workers()[1] > 1:
        raise ValueError(
            "retraining runs on one machine, with all its GPUs: unset TF_CONFIG (speckle train takes several)"
        )
    check_labels(parent, labelled)
    check_geometry(parent, labelled, simulated if simulated_share else None)
    labelled = leave_out_unfit(parent, labelled, report, say)
    trained_on = parent.training.get("origin", {}).get("trained_on", [])
    groups = together(labelled)
    for group in groups:
        if len(group) > 1:
            say(f"{len(group)} runs show the same disks and stay together: {', '.join(u[:8] for u in group)}")
    train_side, held_out = split_by_run(labelled, held_out_share, seed, trained_on, groups)
    _tell_split(train_side, held_out, say)
    training_set, calibration_set = set_aside(train_side, seed, groups, say)
    recipe = _recipe(parent, simulated, steps, batch, learning_rate, test_per_class, seed)
    parts = {"training": training_set, "calibration": calibration_set, "held_out": held_out}
    origin = {
        "parent": {"name": parent.name, "version": parent.version, "sha256": parent.sha256},
        "selection": dict(selection or {}),
        "seed": seed,
        "simulated_share": simulated_share,
        "held_out_share": held_out_share,
        "split": "by run",
        "frames": {name: len(part) for name, part in parts.items()},
        "disk_numbers": {name: _with_text_keys(part.disk_numbers) for name, part in parts.items()},
        "stored": {name: _listing(part) for name, part in parts.items()},
        "trained_on": sorted({*trained_on, *train_side.run_uids}),
    }

    def finish(bundle: Bundle) -> Bundle:
        if simulated is None:  # the recipe's frames were a stand-in for the class list
            plain = {**bundle.training["recipe"], "frames": None}
            bundle = replace(bundle, training={**bundle.training, "recipe": plain})
        bundle = replace(bundle, pitch=parent.pitch or _k_step(labelled))
        known = _calibration_frames(calibration_set, simulated, simulated_share, seed)
        bundle = calibrate_on(bundle, known, len(known), report)
        if bundle.feature_statistics is None:
            say(
                "the child can't tell frames unlike all that it knows: for that "
                f"{LEAST_FOR_STATISTICS} frames are needed besides those trained on, not {len(known)}"
            )
        if parent.sha256 and (trust := find_trust(parent)) and trust.heads:
            say(
                "parent and child are measured without the head that counts disks beside the parent: fit one "
                "for the child, with speckle calibrate and --head-frames, before it labels frames of a scan"
            )
        metrics: dict[str, Any] = {}
        for prefix, measured in (("", bundle), ("parent_", parent)):
            metrics[f"{prefix}held_out"] = scores(_predict(measured, held_out, report))
            if simulated is not None:
                metrics[f"{prefix}test"] = evaluate(
                    measured, simulated, test_per_class, seed, report, alone=True
                )
        return replace(bundle, metrics=metrics)

    order = generator(seed, "validation of stored frames").permutation(len(held_out))[:MOST_FOR_VALIDATION]
    return train(
        recipe,
        folder,
        report,
        parent=parent,
        source=Mixture(training_set, simulated, simulated_share, seed),
        validation=held_out.read(order),
        finish=finish,
        origin=origin,
    )


class Mixture:
    """Stored and simulated frames, interleaved; can be entered anywhere."""

    def __init__(
        self, stored: LabelledFrames, simulated: FrameRecipe | None, simulated_share: float, seed: int
    ) -> None:
        self._stored, self._simulated = stored, simulated
        self._share, self._seed = 1.0 - simulated_share, seed

    def __call__(self, start: int) -> Iterator[DrawnFrame]:
        """Draw frames without end, from the one with the number `start` on."""
        first = self._stored_before(start)
        stored = self._passes(first)
        simulated = (
            stream(self._simulated, self._seed, "retraining", start - first) if self._simulated else stored
        )
        for index in itertools.count(start):
            yield next(stored if self._stored_before(index + 1) > self._stored_before(index) else simulated)

    def _stored_before(self, index: int) -> int:
        return math.floor(index * self._share)

    def _passes(self, start: int) -> Iterator[DrawnFrame]:
        """Go through the stored frames again and again, each time in another order."""
        number, place = divmod(start, len(self._stored))
        while True:
            order = generator(self._seed, "order of stored frames", number).permutation(len(self._stored))
            yield from self._stored.read(order[place:])
            number, place = number + 1, 0


def _tell_split(train_side: LabelledFrames, held_out: LabelledFrames, say: Say) -> None:
    for what, side in (("to train on", train_side), ("held out", held_out)):
        numbers = ", ".join(f"{n} ({count})" for n, count in side.disk_numbers.items())
        say(f"{what}: {len(side)} frames of {len(side.run_uids)} runs; disk numbers (frames): {numbers}")
    if len(train_side.disk_numbers) < 2:
        raise ValueError(
            f"after the split by run only one disk number, {next(iter(train_side.disk_numbers))}, is left to "
            "train on: measure more runs, or runs of several disk numbers"
        )
    for names, one, other in (
        ("held out but not trained on", held_out, train_side),
        ("trained on but not held out", train_side, held_out),
    ):
        missing = sorted(set(one.disk_numbers) - set(other.disk_numbers))
        if missing:
            say(f"disk numbers {names}: {', '.join(map(str, missing))}")


def set_aside(
    train_side: LabelledFrames, seed: int, groups: Sequence[Collection[str]], say: Say
) -> tuple[LabelledFrames, LabelledFrames]:
    """Give the frames that are trained on, and those by which confidences are calibrated.

    The latter are whole runs if there are enough: frames of runs that were trained on would make the
    child too sure of itself.
    """
    apart = [group for group in groups if set(group) & set(train_side.run_uids)]
    why = f"there are {len(apart)} to train on"
    if len(apart) >= LEAST_GROUPS:
        training_set, calibration_set = split_by_run(train_side, 1 / SET_ASIDE, seed, groups=apart)
        lost = sorted(set(train_side.disk_numbers) - set(training_set.disk_numbers))
        if not lost:
            return training_set, calibration_set
        why = f"without those set aside no frame to train on would have {', '.join(map(str, lost))} disks"
    say(
        f"confidences are fitted on frames of runs that are trained on as well, since {why}: they may come "
        "out too high; more runs mend it"
    )
    order = generator(seed, "calibration of stored frames").permutation(len(train_side))
    count = max(1, len(order) // SET_ASIDE)
    return train_side.select(sorted(order[count:])), train_side.select(sorted(order[:count]))


def _recipe(
    parent: Bundle,
    simulated: FrameRecipe | None,
    steps: int,
    batch: int | None,
    learning_rate: float,
    test_per_class: int,
    seed: int,
) -> TrainingRecipe:
    """Derive the child's recipe from the parent's: fewer steps, a lower rate."""
    old = parent.training.get("recipe", {})
    inherited = {key: old[key] for key in ("weight_decay", "precision", "quick") if key in old}
    epochs = math.ceil(steps / STEPS_PER_EPOCH)
    per_epoch = math.ceil(steps / epochs)
    return TrainingRecipe(
        name=parent.name.removesuffix(SUFFIX) + SUFFIX,
        version=str(_generation(parent) + 1),
        frames=simulated or FrameRecipe(disk_numbers=parent.classes),
        preprocessing=parent.preprocessing,
        steps=epochs * per_epoch,
        batch=batch or old.get("batch", 40),
        steps_per_epoch=per_epoch,
        learning_rate=learning_rate,
        warmup_steps=max(1, epochs * per_epoch // 5),
        test_per_class=test_per_class,
        architecture=parent.architecture,
        seed=seed,
        **inherited,
    )


def _generation(parent: Bundle) -> int:
    return int(parent.version) if parent.name.endswith(SUFFIX) and parent.version.isdigit() else 0


def _calibration_frames(
    stored: LabelledFrames, simulated: FrameRecipe | None, simulated_share: float, seed: int
) -> list[DrawnFrame]:
    """Give frames mixed as in training, none of which was trained on."""
    frames = list(stored.read())
    if simulated is not None and simulated_share:
        count = round(len(frames) * simulated_share / (1.0 - simulated_share))
        count = max(count, LEAST_FOR_STATISTICS - len(frames))
        count = min(count, PER_CLASS * len(simulated.disk_numbers))
        fresh = stream(simulated, seed, "calibration after retraining")
        frames += itertools.islice(fresh, count)
    return [frames[i] for i in generator(seed, "order of calibration").permutation(len(frames))]


def _predict(bundle: Bundle, labelled: LabelledFrames, report: Report | None) -> Predictions:
    """Classify stored frames, those of each geometry together."""
    classifier = Classifier(bundle, alone=True)
    groups: dict[int, list[int]] = {}
    for i, frame in enumerate(labelled.frames):
        groups.setdefault(id(frame.geometry), []).append(i)
    parts = [
        predict(classifier, labelled.read(positions), len(positions), report, "held out")
        for positions in groups.values()
    ]
    return Predictions.join(parts)


def _listing(labelled: LabelledFrames) -> list[dict[str, Any]]:
    """Say in plain values which frames these are."""
    groups: dict[tuple[str, str], dict[str, Any]] = {}
    for frame in labelled.frames:
        place = {"run_uid": frame.run_uid, "image_key": frame.image_key, "frame_index": [], "disk_number": []}
        group = groups.setdefault((frame.run_uid, frame.image_key), place)
        group["frame_index"].append(frame.frame_index)
        group["disk_number"].append(frame.disk_number)
    return list(groups.values())


def _with_text_keys(counts: Mapping[int, int]) -> dict[str, int]:
    return {str(n): count for n, count in counts.items()}  # JSON knows no others


def _k_step(labelled: LabelledFrames) -> float | None:
    return next((frame.k_step for frame in labelled.frames if frame.k_step), None)


def _ignore(line: str) -> None:
    pass
