"""Fit what tells odd frames from known ones, and how sure a network may be, beside a bundle.

The bundle stays as it is. Known frames are those of its recipe: its families, noise, offsets and masks, some
of them as integers. Odd ones are of :mod:`training.odd_frames`. Thresholds are taken from known frames on
which nothing else was fitted. How sure the network may be is fitted in :mod:`training.confidence`, and what
counts disks beside it in :mod:`training.head`.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from simulated_devices import grid_by_name
from speckle_plugin.network import Bundle, FeatureStatistics
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Look, Oddness, Trust, Verdict
from speckle_plugin.network.trust.head import Head
from speckle_plugin.network.trust.judge import join_heads
from speckle_plugin.network.trust.oddness import (
    STEEPNESS,
    group_of,
    inputs_of,
    log_probabilities,
    novelty,
    perceive,
    scale,
    standardize,
)
from speckle_plugin.network.trust.spots import SPOTS, SpotMaps
from speckle_plugin.network.trust.statistics import STATISTICS
from speckle_plugin.preprocessing import FrameGeometry
from training.confidence import GROUPS, SPOILED, fit_calibration, fit_families, graded_frames
from training.fits import fit_layers, fit_statistics
from training.frames import BEAM_STOPS, DrawnFrame, draw_frame, frame_geometry, generator, with_beam_stop
from training.head import fit_shares, means_and_deviations, recipe_of_rows
from training.looks import Part, Seen, look_at_parts, looked_range
from training.odd_frames import ODD_FRAMES, as_integers, draw_odd
from training.progress import Report
from training.recipe import FrameRecipe, frame_recipe_of

__all__ = [
    "Samples",
    "collect",
    "fit_oddness",
    "fit_trust",
    "held_out",
    "limit_heads",
    "measure",
    "recipe_of",
    "trust_of",
]

KNOWN = 500
"""Known frames of each disk number."""

ODD = 2000
"""Odd frames of each kind."""

PART = 1000
"""Known frames, or odd ones, that are looked at, and kept, together."""

STOPPED = 11
"""Each eleventh frame, known or odd, has a beam stop: of all disk numbers and kinds, see :func:`_each`."""

GRADED = 120
"""Frames of each disk number, family and noise, that tell how sure the network may be."""

FALSE_ALARMS = 0.01
"""Share of known frames that are flagged."""

UNHEARD = 0.001
"""Share of the graded frames that are too odd for a head: beyond, nothing tells what it is worth."""

HELD_OUT = 3
"""Each third known frame gives the thresholds, and nothing else: of all disk numbers, see :func:`_each`."""

ODD_HELD_OUT = 5
"""Each fifth odd frame is to measure with."""

LAYERS = (128, 64)
DECAY = 0.3
EPOCHS = 30
RANK = 32
LEAST_SPAN = 1e-3
LEAST_FOR_LIMITS = 100
"""Known frames for limits of their own."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Frames that were looked at.

    Parameters
    ----------
    look : Look
    kinds : array of int, shape (N,)
        0 for known frames, else 1 and the place in `ODD_FRAMES`.
    size : int
        Rows of the quadrants that were looked at.
    numbers : int
        How many disk numbers known frames have, in turns.
    """

    look: Look
    kinds: NDArray[np.int64]
    size: int
    numbers: int


def fit_trust(
    bundle: Bundle,
    seed: int,
    known: int = KNOWN,
    odd: int = ODD,
    report: Report | None = None,
    graded: int = GRADED,
    head: Head | None = None,
    kept: Trust | None = None,
    folder: Path | None = None,
) -> Trust:
    """Fit what tells odd frames of a bundle, and how sure it may be of each frame.

    Parameters
    ----------
    bundle : Bundle
    seed : int
    known, odd : int
        Known frames of each disk number, and odd frames of each kind.
    report : callable, optional
        Told of the progress.
    graded : int
        Frames of each disk number, family and noise that tell how sure it may be; 0 for none, and then the
        temperature of the bundle stays, and there are no sets of possible numbers.
    head : Head, optional
        To be joined with the network; it takes graded frames.
    kept : Trust, optional
        What tells odd frames is taken from it, and not fitted again; with a head, those of fewer rows are
        kept, and heard before it. Those of more rows were joined with what it replaces, and are left out.
    folder : path, optional
        Keeps what was seen of the frames; what is there is taken from it.

    Raises
    ------
    ValueError
        If the bundle does not say on which simulated frames it was trained, these are too small, or there
        are no frames to join a head by, or nothing for them is kept.
    """
    recipe = recipe_of(bundle)
    if head is not None and not graded:
        raise ValueError("a head is joined with the network by graded frames: give some, or no head")
    size = looked_range(bundle, recipe)
    if kept is None and head is not None and head.maps.rows != size:
        raise ValueError(f"a head of {head.maps.rows} rows comes beside one of {size}: keep what was fitted")
    if head is not None and head.maps.rows < size:
        raise ValueError(
            f"a head of {head.maps.rows} rows would be given statistics of {size}, which it has not learned: "
            f"expected {size} rows or more"
        )
    if kept is not None and (size not in kept.oddness or not graded):
        raise ValueError(f"nothing that tells odd frames of {size} pixels is kept, or no frame is graded")
    if kept is None:
        trust = trust_of(bundle, collect(bundle, recipe, seed, known, odd, report, folder), seed)
    else:
        trust = _kept(kept, head.maps.rows if head else 0, seed)
    if not graded:
        return trust
    if head is not None:
        recipe = recipe_of_rows(recipe, head.maps.rows)
    heads = [*trust.heads.values(), *([head] if head else [])]
    seen = _look_at_graded(bundle, recipe, size, seed, graded, [of.maps for of in heads], folder, report)
    return _with_confidences(bundle, trust, size, seen, head)


def limit_heads(
    bundle: Bundle,
    trust: Trust,
    seed: int,
    graded: int = GRADED,
    report: Report | None = None,
    folder: Path | None = None,
) -> Trust:
    """Fit up to which oddness heads are heard, for a trust file of before that was fitted with them.

    All else stays as it is: labels and confidences of other frames, too.

    Parameters
    ----------
    bundle, seed, graded, report, folder
        As of :func:`fit_trust`.
    trust : Trust
        Of the bundle.

    Raises
    ------
    ValueError
        If there are no heads or no graded frames, or as of :func:`fit_trust`.
    """
    if not trust.heads or not graded:
        raise ValueError("limits of heads take a trust file with heads, and graded frames")
    recipe = recipe_of(bundle)
    size = looked_range(bundle, recipe)
    limited, made = {}, dict(trust.made.get("heads", {}))
    for rows, head in sorted(trust.heads.items()):
        maps = [trust.heads[smaller].maps for smaller in sorted(trust.heads) if smaller <= rows]
        of_rows = recipe_of_rows(recipe, rows)
        seen = _look_at_graded(bundle, of_rows, size, seed, graded, maps, folder, report)
        verdict = trust.oddness[size].judge(seen.look, bundle.feature_statistics)
        limited[rows] = replace(head, heard=_heard(verdict))
        fitted = _circumstances(seed) | {"graded_frames": len(seen.groups)}
        made[str(rows)] = {**made.get(str(rows), {}), "heard": limited[rows].heard, "limited": fitted}
    return replace(trust, heads=limited, made={**trust.made, "heads": made})


def _heard(verdict: Verdict) -> float:
    """Give the oddness up to which a head is heard that was fitted beside such frames."""
    return float(np.quantile(verdict.detected, 1.0 - UNHEARD))


def _kept(kept: Trust, rows: int, seed: int) -> Trust:
    """Give what is kept of a trust file beside a head of so many rows, or none."""
    heads = {smaller: kept.heads[smaller] for smaller in sorted(kept.heads) if smaller < rows}
    made = {name: value for name, value in kept.made.items() if name != "heads"}
    made |= _circumstances(seed) | {"kept": _circumstances_of(kept)}
    if heads:
        made["heads"] = {str(smaller): kept.made["heads"][str(smaller)] for smaller in heads}
    calibration = {smaller: of for smaller, of in kept.calibration.items() if smaller < rows}
    return Trust(kept.bundle_sha256, kept.oddness, made, calibration, heads)


def _look_at_graded(
    bundle: Bundle,
    recipe: FrameRecipe,
    size: int,
    seed: int,
    graded: int,
    maps: Sequence[SpotMaps],
    folder: Path | None,
    report: Report | None,
) -> Seen:
    """Look at graded frames, each group a part, but not at those that the folder has."""
    # What tells families was fitted to the frames of the first head: those of a second one show other disks.
    stream = "trust graded" if len(maps) < 2 else f"trust graded, {maps[-1].rows} rows"
    seen_of = {"spots": SPOTS, "maps": [asdict(of) for of in maps], "graded": graded, "spoiled": SPOILED}
    seen_of["stream"] = stream
    parts = [
        Part(
            f"{group:02d}",
            graded * len(recipe.disk_numbers),
            functools.partial(graded_frames, recipe, seed, graded, [group], stream),
        )
        for group in range(len(GROUPS))
    ]
    folder = _subfolder(folder, "graded", bundle, recipe, size, seed, seen_of)
    return look_at_parts(bundle, parts, size, folder, report, maps, "grade")


def _subfolder(
    folder: Path | None,
    kind: str,
    bundle: Bundle,
    recipe: FrameRecipe,
    size: int,
    seed: int,
    more: Mapping[str, object],
) -> Path | None:
    """Give the place in a folder for what is seen of frames of a kind, which nothing else has."""
    if folder is None:
        return None
    of = {"seed": seed, "size": size, "frames": asdict(recipe), "statistics": STATISTICS}
    made = json.dumps({**of, **more, "bundle": bundle.sha256}, sort_keys=True)
    return folder / f"{kind}-{hashlib.sha256(made.encode()).hexdigest()[:12]}"


def recipe_of(bundle: Bundle) -> FrameRecipe:
    """Give the recipe of the simulated frames beside which odd ones are told.

    Raises
    ------
    ValueError
        If the bundle does not say, or they are of a less ideal world than the odd frames that there are.
    """
    recipe = frame_recipe_of(bundle)
    if recipe.is_real and recipe.real_share:
        raise ValueError(
            f"the bundle {bundle.name!r} was trained on frames of a less ideal world (real_share is "
            f"{recipe.real_share:g}), and some kinds of odd frames are such: nothing can be fitted beside "
            "it; its own temperature and novelty serve"
        )
    return recipe


def trust_of(bundle: Bundle, samples: Samples, seed: int) -> Trust:
    """Fit what tells odd frames to samples, and measure it on those that were held out."""
    oddness = fit_oddness(samples, bundle.feature_statistics)
    made = _circumstances(seed) | {
        "known_frames": int((samples.kinds == 0).sum()),
        "odd_frames": int((samples.kinds > 0).sum()),
        "false_alarms": FALSE_ALARMS,
        "held_out": measure(oddness, samples, bundle.feature_statistics),
    }
    return Trust(bundle.sha256, {samples.size: oddness}, made)


def _circumstances(seed: int) -> dict[str, Any]:
    return {
        "seed": seed,
        "graded_frames": 0,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {
            "python": platform.python_version(),
            "numpy": np.__version__,
            "sklearn": sklearn.__version__,
        },
    }


def _circumstances_of(trust: Trust) -> dict[str, Any]:
    """Give how that which tells odd frames was made."""
    made = trust.made.get("kept", trust.made)
    return {name: made[name] for name in ("seed", "date", "versions") if name in made}


def _with_confidences(bundle: Bundle, trust: Trust, size: int, graded: Seen, head: Head | None) -> Trust:
    """Join a head, if there is one, and fit how sure network and heads may be together."""
    verdict = trust.oddness[size].judge(graded.look, bundle.feature_statistics)
    inputs = verdict.inputs
    trust = replace(trust, made={**trust.made, "graded_frames": len(graded.groups)})
    families = fit_families(inputs, graded.groups)
    if head is None:
        return replace(trust, calibration={size: fit_calibration(bundle, inputs, graded, families)})
    truth = np.searchsorted(bundle.classes, graded.disk_numbers)
    statistics = graded.look.statistics
    before = join_heads(trust, list(trust.heads.values()), graded.look, graded.spots[:-1], verdict)
    alone = head.logits(statistics, graded.spots[-1])
    told = _of_families_that_are_told(graded, alone, truth)
    head = fit_shares(head, before[told], alone[told], statistics[told], families.probable[told], truth[told])
    head = replace(head, heard=_heard(verdict))
    rows = head.maps.rows
    joined = head.join(before, statistics, graded.spots[-1], families.probable, verdict.detected)
    calibration = fit_calibration(bundle, inputs, graded, families, joined)
    spoken = {"network": graded.look.logits, "head": alone, "joined": joined}
    accuracy = {
        f"{family}, {noise}": {
            name: float((join_views(logits[chosen], 1.0).argmax(axis=1) == truth[chosen]).mean())
            for name, logits in spoken.items()
        }
        for group, (family, noise) in enumerate(GROUPS)
        if (chosen := graded.groups == group).any()
    }
    made = {"graded_frames": len(graded.groups), "seed": trust.made["seed"]}
    of_head = {**made, "shares": head.shares.tolist(), "heard": head.heard, "accuracy": accuracy}
    heads = {**trust.made.get("heads", {}), str(rows): of_head}
    return replace(
        trust,
        made={**trust.made, "heads": heads},
        calibration={**trust.calibration, rows: calibration},
        heads={**trust.heads, rows: head},
    )


def _of_families_that_are_told(
    graded: Seen, logits: NDArray[np.float64], truth: NDArray[np.intp]
) -> NDArray[np.bool_]:
    """Choose the frames of families of which a voice names most; what it says of others weighs nothing."""
    right = join_views(logits, 1.0).argmax(axis=1) == truth
    families = np.array([family for family, _ in GROUPS])[graded.groups]
    told = [family for family in np.unique(families) if right[families == family].mean() > 0.5]
    return np.isin(families, told)


def measure(
    oddness: Oddness, samples: Samples, features: FeatureStatistics | None
) -> dict[str, dict[str, float]]:
    """Measure detectors on the samples that were held out, kind by kind.

    Returns
    -------
    dict
        For each flag: the area under the ROC curve of the joined score, the share that is flagged, and the
        share of these that is said to be of the kind.
    """
    known, odd = held_out(samples)
    scores = _judged(oddness, samples.look, known, features).score
    found = {}
    for kind, flag in enumerate(ODD_FRAMES, start=1):
        verdict = _judged(oddness, samples.look, odd[samples.kinds[odd] == kind], features)
        truth = np.repeat([0, 1], [len(scores), len(verdict.score)])
        flagged = verdict.score > 1
        named = np.array([said == flag for said in verdict.flags])
        found[str(flag)] = {
            "area_under_roc": float(roc_auc_score(truth, np.concatenate([scores, verdict.score]))),
            "flagged": float(flagged.mean()),
            "named": float(named[flagged].mean()) if flagged.any() else 0.0,
        }
    return found


def _judged(
    oddness: Oddness, look: Look, chosen: NDArray[np.intp], features: FeatureStatistics | None
) -> Verdict:
    return oddness.judge(Look(*(part[chosen] for part in look)), features)


def _each(least: int, kinds: int) -> int:
    """Give at how many frames one is chosen, so that of kinds that come in turns all have their share."""
    return next(step for step in itertools.count(least) if math.gcd(step, kinds) == 1)


def held_out(samples: Samples) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Give the known and the odd frames to which nothing is fitted but the limits."""
    known, odd = np.flatnonzero(samples.kinds == 0), np.flatnonzero(samples.kinds > 0)
    mixed = np.random.default_rng(0).permutation(odd)
    return known[:: _each(HELD_OUT, samples.numbers)], mixed[::ODD_HELD_OUT]


def collect(
    bundle: Bundle,
    recipe: FrameRecipe,
    seed: int,
    known: int = KNOWN,
    odd: int = ODD,
    report: Report | None = None,
    folder: Path | None = None,
) -> Samples:
    """Draw known frames and odd ones, and look at them.

    Parameters
    ----------
    bundle, seed, known, odd, report, folder
        As of :func:`fit_trust`.
    recipe : FrameRecipe
        That of the bundle.

    Raises
    ------
    ValueError
        If the recipe's frames have too few pixels.
    """
    size = looked_range(bundle, recipe)
    parts = []
    for name, draw, total in (
        ("known", _known_frames, known * len(recipe.disk_numbers)),
        ("odd", _odd_frames, odd * len(ODD_FRAMES)),
    ):
        for first in range(0, total, PART):
            indices = range(first, min(first + PART, total))
            of_indices = functools.partial(draw, recipe, seed, indices)
            parts.append(Part(f"{name}-{indices.start}-{indices.stop}", len(indices), of_indices))
    folder = _subfolder(
        folder, "odd", bundle, recipe, size, seed, {"stopped": STOPPED, "beam_stops": BEAM_STOPS}
    )
    seen = look_at_parts(bundle, parts, size, folder, report)
    return Samples(seen.look, seen.groups, size, len(recipe.disk_numbers))


def _known_frames(recipe: FrameRecipe, seed: int, indices: Iterable[int]) -> Iterator[tuple[int, DrawnFrame]]:
    grid, geometry = grid_by_name(recipe.grid, recipe.size), frame_geometry(recipe)
    for index in indices:
        rng = generator(seed, "trust known", index)
        number = recipe.disk_numbers[index % len(recipe.disk_numbers)]
        drawn = draw_frame(recipe, number, rng, grid, geometry)
        frame = as_integers(drawn.frame, grid, rng).astype(np.float32)
        stopped = _stopped(drawn.geometry, index, len(recipe.disk_numbers), rng)
        yield 0, DrawnFrame(frame, stopped, number)


def _odd_frames(recipe: FrameRecipe, seed: int, indices: Iterable[int]) -> Iterator[tuple[int, DrawnFrame]]:
    grid, geometry = grid_by_name(recipe.grid, recipe.size), frame_geometry(recipe)
    for index in indices:
        kind = index % len(ODD_FRAMES)
        rng = generator(seed, "trust odd", index)
        frame = draw_odd(tuple(ODD_FRAMES)[kind], recipe, grid, rng)
        yield kind + 1, DrawnFrame(frame, _stopped(geometry, index, len(ODD_FRAMES), rng), 0)


def _stopped(geometry: FrameGeometry, index: int, kinds: int, rng: np.random.Generator) -> FrameGeometry:
    each = _each(STOPPED, kinds)
    return with_beam_stop(geometry, rng) if index % each == each - 1 else geometry


def fit_oddness(samples: Samples, features: FeatureStatistics | None) -> Oddness:
    """Fit the detectors of oddness.

    Parameters
    ----------
    samples : Samples
    features : FeatureStatistics or None
        Those of the bundle.
    """
    look, kinds = samples.look, samples.kinds
    known_held_out, odd_held_out = held_out(samples)
    fitted = np.setdiff1d(np.flatnonzero(kinds == 0), known_held_out)
    means, deviations = means_and_deviations(look.statistics[fitted])
    standardized = standardize(look.statistics, means, deviations)
    near = fit_statistics(standardized[fitted], RANK)
    odd = np.setdiff1d(np.flatnonzero(kinds > 0), odd_held_out)
    learned = np.concatenate([fitted, odd])
    inputs = inputs_of(standardized, look, features)
    layers = fit_layers(inputs[learned], kinds[learned], LAYERS, DECAY, EPOCHS)
    names = tuple(tuple(ODD_FRAMES)[kind - 1] for kind in np.unique(kinds[learned])[1:])
    log_p = log_probabilities(perceive(inputs, layers))
    scores = np.stack(
        [
            novelty(look, features),
            near.distances(standardized),
            np.logaddexp.reduce(log_p[:, 1:], axis=1) - log_p[:, 0],
        ],
        axis=1,
    )[known_held_out]
    groups = group_of(look.logits[known_held_out])
    parts = [scores[groups == group] for group in (0, 1)]
    if min(len(part) for part in parts) < LEAST_FOR_LIMITS:
        parts = [scores, scores]
    middles = np.stack([np.median(part, axis=0) for part in parts])
    limits = np.stack([_limits(part, middle) for part, middle in zip(parts, middles, strict=True)])
    return Oddness(means, deviations, near, layers, names, middles, limits)


def _limits(scores: NDArray[np.float64], middles: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give limits that are alike for all detectors, and are passed by `FALSE_ALARMS` of the frames in all."""
    share = FALSE_ALARMS / 2.0
    weights = np.array([0.25, 0.25, 1.0])  # the perceptron is the sharpest: it may speak most often
    limits = np.array(
        [np.quantile(column, 1.0 - share * w) for column, w in zip(scores.T, weights, strict=True)]
    )
    spans = np.maximum(limits - middles, LEAST_SPAN)  # without statistics of features there is no distance
    joined = scale(scores, middles, middles + spans).max(axis=1)
    # What all limits are to be moved by, each by its own scale.
    more = (np.quantile(joined, 1.0 - FALSE_ALARMS) - 1.0) / STEEPNESS
    return np.asarray(middles + spans * (1.0 + more))
