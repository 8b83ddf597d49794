"""Split labelled frames into those to train on and those held out, never cutting a run.

Runs that show the same disks stay together as well: the simulated sample says from which seed
its disks were drawn, and two scans with the same seeds are one measurement, made twice.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable

import numpy as np

from speckle_plugin.schema import PRIMARY, split_image_key
from speckle_plugin.store import StoredRun
from training.stored_frames import LabelledFrames

__all__ = ["join_groups", "split_by_run", "together"]

SAMPLE_SEED_SUFFIX = "_truth_seed"
"""A simulated detector `det` records under `det_truth_seed` from which seed the disks were drawn."""

SPLITS_TRIED = 400


def together(labelled: LabelledFrames) -> list[tuple[str, ...]]:
    """Give the uids of the runs in groups, such that no two groups show a sample in common.

    Of real detectors nothing tells which runs show the same sample: each is a group of its own.
    """
    seen: dict[str, set[int]] = {uid: set() for uid in labelled.run_uids}
    for uid, image_key in {(frame.run_uid, frame.image_key): None for frame in labelled.frames}:
        events = StoredRun(labelled.runs[uid]).events(split_image_key(image_key)[0] or PRIMARY)
        keys = [key for key in events.data_keys if key.endswith(SAMPLE_SEED_SUFFIX)] if events else []
        table = events.columns(keys) if events and keys else None
        if table is not None:
            seen[uid].update(int(seed) for key in keys for seed in table[key].dropna().unique())
    return join_groups(seen)


def join_groups(seen: dict[str, set[int]]) -> list[tuple[str, ...]]:
    """Join those that have something in common, over others too."""
    groups: list[tuple[list[str], set[int]]] = []
    for uid, seeds in seen.items():
        names, known = [uid], set(seeds)
        apart = []
        for other_names, other_seeds in groups:
            if other_seeds & known:
                names = other_names + names
                known |= other_seeds
            else:
                apart.append((other_names, other_seeds))
        groups = [*apart, (names, known)]
    return [tuple(names) for names, _ in groups]


def split_by_run(
    labelled: LabelledFrames,
    held_out_share: float,
    seed: int,
    trained_on: Collection[str] = (),
    groups: Iterable[Collection[str]] = (),
) -> tuple[LabelledFrames, LabelledFrames]:
    """Split frames so that no run stands on both sides: those to train on, and those held out.

    Frames of one run are alike in more than their disk number (sample, beam, detector); a
    network tested on the others of a run that it was trained on would look better than it is.
    Of many random splits that one is taken that leaves fewest disk numbers without frames to
    train on, then fewest without held-out frames, then comes nearest to the share.

    Parameters
    ----------
    labelled : LabelledFrames
    held_out_share : float
        Share of the frames to hold out, between 0 and 1; a run is never cut.
    seed : int
    trained_on : collection of str
        Uids of runs that are never held out, since the parent was trained on them.
    groups : iterable of collection of str
        Runs that stay on one side, by :func:`together`; each run by itself by default.

    Raises
    ------
    ValueError
        If there are fewer than two groups, or none that may be held out.
    """
    if not 0 < held_out_share < 1:
        raise ValueError(f"the share of frames to hold out must be between 0 and 1, not {held_out_share}")
    uids = labelled.run_uids
    if len(uids) < 2:
        raise ValueError(
            f"the {len(labelled)} labelled frames are of {len(uids)} run: at least two are needed, one of "
            "which is held out to measure what was learned; measure another run, or widen the query"
        )
    known_uids = [tuple(uid for uid in group if uid in uids) for group in groups]
    units = [group for group in known_uids if group] or [(uid,) for uid in uids]
    if len(units) < 2:
        raise ValueError(
            f"the {len(uids)} runs show the same disks, drawn from the same seeds: one held out would be no "
            "test. Measure a run of another sample, of another seed, or widen the query"
        )
    candidates = [unit for unit in units if not set(unit) & set(trained_on)]
    if not candidates:
        raise ValueError(
            f"the parent was trained on all {len(uids)} runs already, and can't be measured on any of them: "
            "measure another run, or take the parent's own parent"
        )
    counts = {unit: Counter[int]() for unit in units}
    unit_of = {uid: unit for unit in units for uid in unit}
    for frame in labelled.frames:
        counts[unit_of[frame.run_uid]][frame.disk_number] += 1
    rng = np.random.default_rng([seed, len(labelled)])
    best: tuple[tuple[float, ...], frozenset[tuple[str, ...]]] | None = None
    for _ in range(SPLITS_TRIED):
        order = [candidates[i] for i in rng.permutation(len(candidates))]
        sizes = np.cumsum([counts[unit].total() for unit in order]) / len(labelled)
        number = 1 + int(np.argmin(np.abs(sizes[: len(units) - 1] - held_out_share)))
        held = frozenset(order[:number])
        known = {n for unit in units if unit not in held for n in counts[unit]}
        tested = {n for unit in held for n in counts[unit]}
        missing = len(tested - known), len(known - tested), abs(float(sizes[number - 1]) - held_out_share)
        if best is None or missing < best[0]:
            best = missing, held
    held = best[1] if best else frozenset()
    sides: tuple[list[int], list[int]] = ([], [])
    for i, frame in enumerate(labelled.frames):
        sides[unit_of[frame.run_uid] in held].append(i)
    return labelled.select(sides[0]), labelled.select(sides[1])
