"""What a wider look is worth: k to 129 or 257 pixels, with moments or without, at equal frames.

Each look is trained from the shipped network on the same frames, as many for each seed, and tested on frames
that none of them saw; and its preprocessing is timed, on one core. Stopped, it goes on where it was. On two
cores that know bfloat16, 40000 frames take about 20 minutes. Prints a table in Markdown.

    python benchmarks/wider_look.py --out runs/wider_look [--frames 40000] [--seeds 1,2] [--look 257_moments]
"""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path
from statistics import mean, median

from speckle_plugin.network import find_bundle, load_bundle
from speckle_plugin.preprocessing import prepare
from training.frames import stream
from training.recipe import TrainingRecipe, load_recipe
from training.train import train

TIMED = 200
"""Times that a frame is prepared."""

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
    parser.add_argument("--out", type=Path, required=True, help="folder, kept between runs")
    parser.add_argument("--frames", type=int, default=40000)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--family", default="poly")
    parser.add_argument("--look", action="append", choices=LOOKS)
    parser.add_argument("--test-per-class", type=int, default=100)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(
        f"| look | right, seeds {options.seeds} | mean | within one | calibration error | preprocessing, ms |"
    )
    print("|---|---|---|---|---|---|", flush=True)
    for look in options.look or LOOKS:
        metrics = [_metrics(look, int(seed), options) for seed in options.seeds.split(",")]
        cells = [
            ", ".join(f"{m['accuracy']:.4f}" for m in metrics),
            *(
                f"{mean(m[name] for m in metrics):.4f}"
                for name in ("accuracy", "within_one", "expected_calibration_error")
            ),
            f"{1e3 * _preprocessing_time(look, options):.2f}",
        ]
        print(f"| {look.replace('_', ', ')} | {' | '.join(cells)} |", flush=True)


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


def _preprocessing_time(look: str, options: argparse.Namespace) -> float:
    """Give the median of the seconds that a frame takes."""
    recipe = _recipe(look, 0, options)
    frame, geometry, _ = next(stream(recipe.frames, 0, "timing"))
    times = []
    for _ in range(TIMED):
        began = time.perf_counter()
        prepare(frame, recipe.preprocessing, geometry)
        times.append(time.perf_counter() - began)
    return median(times)


def _metrics(look: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    folder = options.out / f"{look}-{seed}"
    path = folder / "wide.bundle"
    if not path.is_file() or "test" not in load_bundle(path).metrics:

        def report(stage: str, done: int, total: int, numbers: dict[str, float]) -> None:
            if done % 50 == 0:
                print(f"{look} {seed} {stage} {done}/{total} {numbers}", flush=True)

        train(_recipe(look, seed, options), folder, report, parent=find_bundle())
    metrics: dict[str, float] = dict(load_bundle(path).metrics["test"])
    return metrics


if __name__ == "__main__":
    main()
