"""Split labelled frames into those to train on and those held out, never cutting a run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

import numpy as np

from training.stored_frames import LabelledFrames

__all__ = ["split_by_run"]

SPLITS_TRIED = 400


def split_by_run(
    labelled: LabelledFrames, held_out_share: float, seed: int, trained_on: Collection[str] = ()
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

    Raises
    ------
    ValueError
        If there are fewer than two runs, or none that may be held out.
    """
    if not 0 < held_out_share < 1:
        raise ValueError(f"the share of frames to hold out must be between 0 and 1, not {held_out_share}")
    uids = labelled.run_uids
    if len(uids) < 2:
        raise ValueError(
            f"the {len(labelled)} labelled frames are of {len(uids)} run: at least two are needed, one of "
            "which is held out to measure what was learned; measure another run, or widen the query"
        )
    candidates = [uid for uid in uids if uid not in trained_on]
    if not candidates:
        raise ValueError(
            f"the parent was trained on all {len(uids)} runs already, and can't be measured on any of them: "
            "measure another run, or take the parent's own parent"
        )
    counts = {uid: Counter[int]() for uid in uids}
    for frame in labelled.frames:
        counts[frame.run_uid][frame.disk_number] += 1
    rng = np.random.default_rng([seed, len(labelled)])
    best: tuple[tuple[float, ...], frozenset[str]] | None = None
    for _ in range(SPLITS_TRIED):
        order = [candidates[i] for i in rng.permutation(len(candidates))]
        sizes = np.cumsum([counts[uid].total() for uid in order]) / len(labelled)
        number = 1 + int(np.argmin(np.abs(sizes[: len(uids) - 1] - held_out_share)))
        held = frozenset(order[:number])
        known = {n for uid in uids if uid not in held for n in counts[uid]}
        tested = {n for uid in held for n in counts[uid]}
        missing = len(tested - known), len(known - tested), abs(float(sizes[number - 1]) - held_out_share)
        if best is None or missing < best[0]:
            best = missing, held
    held = best[1] if best else frozenset()
    sides: tuple[list[int], list[int]] = ([], [])
    for i, frame in enumerate(labelled.frames):
        sides[frame.run_uid in held].append(i)
    return labelled.select(sides[0]), labelled.select(sides[1])
