"""Up to which oddness heads are worth being heard: right labels of the network alone, and with its head.

Frames are of the less ideal worlds of `speckle evaluate --only "real world"`, and of one more; and known
frames of all families, without noise and with it, as confidences are fitted to. Prints two tables in
Markdown; one minute or two on two cores:

    python benchmarks/heads_heard.py [--per-class 5] [--seed 77]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.engines import Engine, make_engine
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Trust, find_trust
from speckle_plugin.network.trust.judge import join_heads
from training.confidence import graded_frames
from training.evaluation.studies import REAL_WORLD
from training.evaluation.study import ideal_recipe_of
from training.evaluation.unknowns import FAULT_PHOTONS
from training.frames import DrawnFrame, balanced_set
from training.looks import look_at, looked_range
from training.recipe import FrameRecipe, frame_recipe_of

LIMITS = (-np.inf, 0.8, 1.0, 1.2, 1.5, 2.0, 3.0, 5.0, np.inf)
"""Of the ranges of the score; above 1 a frame is flagged."""

WORLDS: dict[str, dict[str, Any]] = {
    **REAL_WORLD,
    "coherence length 200": {"coherence_length": (200.0, 200.0)},
}


def main() -> None:
    """Look at frames, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="quadrant", help="name or path of a bundle with a head")
    parser.add_argument("--per-class", type=int, default=5, help="frames of each disk number in each set")
    parser.add_argument("--seed", type=int, default=77)
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    trust, engine, recipe = find_trust(bundle), make_engine(bundle), frame_recipe_of(bundle)
    if trust is None or not trust.heads:
        raise SystemExit(f"{bundle.name} has no head: nothing is to be compared")
    for name, drawn in (
        ("less ideal worlds", _of_worlds(ideal_recipe_of(bundle), options.per_class, options.seed)),
        ("known frames", (frame for _, frame in graded_frames(recipe, options.seed, options.per_class))),
    ):
        score, alone, joined = _judged(bundle, engine, trust, looked_range(bundle, recipe), drawn)
        print(
            f"\n| score, {name} | frames | share | the network alone | with its head |\n|---|---|---|---|---|"
        )
        for low, high in zip(LIMITS, LIMITS[1:], strict=False):
            here = (score > low) & (score <= high)
            rights = (f"{right[here].mean():.2f}" if here.any() else "" for right in (alone, joined))
            print(f"| {low:g} to {high:g} | {here.sum()} | {here.mean():.4f} | {' | '.join(rights)} |")


def _of_worlds(ideal: FrameRecipe, per_class: int, seed: int) -> Iterator[DrawnFrame]:
    counted = replace(ideal, photons=(FAULT_PHOTONS,) * 2, noisy_share=1.0, shares=())
    for world in WORLDS.values():
        for family in ideal.families:
            yield from balanced_set(replace(counted, families=(family,), **world), per_class, seed, "gate")


def _judged(
    bundle: Bundle, engine: Engine, trust: Trust, size: int, drawn: Iterator[DrawnFrame]
) -> tuple[NDArray[np.float64], NDArray[np.bool_], NDArray[np.bool_]]:
    """Give the oddness of N frames, and whether the network, and both, name each rightly."""
    head = replace(trust.heads[size], heard=np.inf)  # of all frames: where it hurts is what is asked
    seen = look_at(bundle, engine, ((0, frame) for frame in drawn), size, [head.maps])
    verdict = trust.oddness[size].judge(seen.look, bundle.feature_statistics)
    joined = join_heads(trust, [head], seen.look, seen.spots, verdict)
    truth = np.searchsorted(bundle.classes, seen.disk_numbers)
    right = [join_views(logits, 1.0).argmax(axis=1) == truth for logits in (seen.look.logits, joined)]
    return verdict.score, right[0], right[1]


if __name__ == "__main__":
    main()
