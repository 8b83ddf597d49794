"""What a wider look is worth: k to 129 or 257 pixels, with moments or without, at equal frames.

Each look is trained from the shipped network on the same frames, as many for each seed, and tested on frames
that none of them saw; and its preprocessing is timed, on one core. Then each network is joined with the head
of the shipped one, as that is joined: by weights fitted to every other frame, and measured on the rest.
Stopped, it goes on where it was. On two cores that know bfloat16, 40000 frames take about 20 minutes. Prints
a table in Markdown.

    python benchmarks/wider_look.py --out runs/wider_look [--frames 40000] [--seeds 1,2] [--look 257_moments]
    python benchmarks/wider_look.py --timing
"""

from __future__ import annotations

import argparse
import functools
import itertools
import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean, median
from typing import Any

import numpy as np

from speckle_plugin.network import Bundle, find_bundle, load_bundle
from speckle_plugin.network.engines import make_engine
from speckle_plugin.network.trust import find_trust
from speckle_plugin.network.trust.head import Head
from speckle_plugin.preprocessing import Preprocessing, prepare
from training.evaluation.measure import evaluate
from training.frames import balanced_set, stream
from training.head import fit_shares
from training.looks import Seen, look_at, looked_range
from training.recipe import FrameRecipe, TrainingRecipe, load_recipe
from training.train import train

TIMED = 200
"""Times that a frame is prepared."""

JOINED, JOINED_SEED = 200, 3_000_001
"""Frames of each disk number on which networks are joined with a head, half of them to fit the weights."""

BATCH = 32

LOOKS = {
    "129": ("architecture=resnet50", "preprocessing.crop=129", "preprocessing.radial_rows=64"),
    "129_moments": ("architecture=resnet50", "preprocessing.crop=129", "preprocessing.radial_rows=22"),
    "257": ("architecture=resnet50_wide", "preprocessing.crop=257", "preprocessing.radial_rows=129"),
    "257_moments": ("architecture=resnet50_wide", "preprocessing.crop=257", "preprocessing.radial_rows=43"),
}
"""As many rows below the map in each, so that the inputs of a size differ in nothing but what is in them."""


def main() -> None:
    """Train what is not trained yet, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, help="folder, kept between runs")
    what.add_argument("--timing", action="store_true", help="train nothing: time the preprocessing only")
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--family", default="poly")
    parser.add_argument("--look", action="append", choices=LOOKS)
    parser.add_argument("--test-per-class", type=int, default=100)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    if options.timing:
        for look in LOOKS:
            looking = _recipe(look, 0, options)
            taken = _preprocessing_time(looking.preprocessing, looking.frames)
            print(f"{look.replace('_', ', '):13} {1e3 * taken:.2f} ms", flush=True)
        return
    print(f"| look | right, seeds {options.seeds} | mean | within one | calibration error ", end="")
    print("| with the head | preprocessing, ms |\n|---|---|---|---|---|---|---|", flush=True)
    seeds = [int(seed) for seed in options.seeds.split(",")]
    shipped, recipe = find_bundle(), _recipe("129", 0, options).frames
    found = [evaluate(shipped, recipe, options.test_per_class, seed, alone=True) for seed in seeds]
    _add_row("as shipped, not trained further", [shipped], found, options)
    for look in options.look or LOOKS:
        bundles = [_trained(look, seed, options) for seed in seeds]
        _add_row(look.replace("_", ", "), bundles, [b.metrics["test"] for b in bundles], options)


def _add_row(
    name: str, bundles: Sequence[Bundle], metrics: Sequence[Mapping[str, Any]], options: argparse.Namespace
) -> None:
    recipe = _recipe("129", 0, options).frames
    cells = [
        ", ".join(f"{m['accuracy']:.4f}" for m in metrics),
        *(
            f"{mean(m[name] for m in metrics):.4f}"
            for name in ("accuracy", "within_one", "expected_calibration_error")
        ),
        f"{mean(_joined(bundle, recipe) for bundle in bundles):.4f}",
        f"{1e3 * _preprocessing_time(bundles[0].preprocessing, recipe):.2f}",
    ]
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _joined(bundle: Bundle, recipe: FrameRecipe) -> float:
    """Give the share of right labels of a network and the head of the shipped one together."""
    head, seen = _seen(recipe)
    engine, logits = make_engine(bundle), []
    drawn = balanced_set(recipe, JOINED, JOINED_SEED, "wider look")
    while chunk := list(itertools.islice(drawn, BATCH)):
        views = [prepare(d.frame, bundle.preprocessing, d.geometry)[0] for d in chunk]
        logits.append(engine.run(np.concatenate(views)).logits)
    before, alone = np.concatenate(logits)[:, None], head.logits(seen.look.statistics, seen.spots[0])
    truth = np.searchsorted(bundle.classes, seen.disk_numbers)
    one, fitted = np.ones((len(truth), 1)), np.arange(len(truth)) % 2 == 0
    given = before[fitted], alone[fitted], seen.look.statistics[fitted], one[fitted], truth[fitted]
    joined = fit_shares(head, *given).join(before, seen.look.statistics, seen.spots[0], one)
    return float((joined[~fitted, 0].argmax(axis=1) == truth[~fitted]).mean())


@functools.cache
def _seen(recipe: FrameRecipe) -> tuple[Head, Seen]:
    """Give the head of the shipped network, and what is seen of frames for it."""
    shipped = find_bundle()
    trust = find_trust(shipped)
    if trust is None:
        raise SystemExit("the shipped network has no trust file: this compares networks beside its head")
    size = looked_range(shipped, recipe)
    head = trust.heads[size]
    frames = ((0, drawn) for drawn in balanced_set(recipe, JOINED, JOINED_SEED, "wider look"))
    return head, look_at(shipped, make_engine(shipped), frames, size, [head.maps])


def _recipe(look: str, seed: int, options: argparse.Namespace) -> TrainingRecipe:
    steps = max(50, options.frames // 40 // 50 * 50)
    return load_recipe(
        "wide",
        [
            *LOOKS[look],
            f"preprocessing.moments={3 if look.endswith('moments') else 1}",
            f"frames.families=['{options.family}']",
            "frames.shares=[]",
            "frames.noisy_share=0.0",
            "ema_momentum=0.0",
            f"steps={steps}",
            "steps_per_epoch=50",
            "warmup_steps=60",
            f"test_per_class={options.test_per_class}",
            f"seed={seed}",
        ],
    )


def _preprocessing_time(settings: Preprocessing, recipe: FrameRecipe) -> float:
    """Give the median of the seconds that a frame takes."""
    frame, geometry, _ = next(stream(recipe, 0, "timing"))
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        prepare(frame, settings, geometry)
        times.append(time.perf_counter() - began)
    return median(times)


def _trained(look: str, seed: int, options: argparse.Namespace) -> Bundle:
    folder = options.out / f"{look}-{seed}"
    path = folder / "wide.bundle"
    if not path.is_file():

        def report(stage: str, done: int, total: int, numbers: dict[str, float]) -> None:
            if done % 50 == 0:
                print(f"{look} {seed} {stage} {done}/{total} {numbers}", flush=True)

        train(_recipe(look, seed, options), folder, report, parent=find_bundle())
    return load_bundle(path)


if __name__ == "__main__":
    main()
