"""What a wider look is worth: k to 129 or 257 pixels, with moments or without, at equal frames.

Each look is trained from the shipped network on the same frames, as many for each seed, and tested on frames
that none of them saw. Stopped, it goes on where it was. On two cores, 40000 frames take about half an hour.

    python benchmarks/wider_look.py --out runs/wider_look [--frames 40000] [--seeds 1,2] [--look 257_moments]
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from statistics import mean

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
    rows = {}
    for look in options.look or LOOKS:
        metrics = [_metrics(look, int(seed), options) for seed in options.seeds.split(",")]
        names = ("accuracy", "within_one", "expected_calibration_error")
        rows[look] = {name: [round(m[name], 4) for m in metrics] for name in names}
        rows[look]["mean accuracy"] = [round(mean(m["accuracy"] for m in metrics), 4)]
        print(f"{look}: {json.dumps(rows[look])}", flush=True)
    (options.out / "table.json").write_text(json.dumps(rows, indent=1) + "\n")


def _metrics(look: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    from speckle_plugin.network import find_bundle, load_bundle
    from training.recipe import load_recipe
    from training.train import train

    folder = options.out / f"{look}-{seed}"
    path = folder / "wide.bundle"
    if not path.is_file() or "test" not in load_bundle(path).metrics:
        steps = max(50, options.frames // 40 // 50 * 50)
        recipe = load_recipe(
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

        def report(stage: str, done: int, total: int, numbers: dict[str, float]) -> None:
            if done % 50 == 0:
                print(f"{look} {seed} {stage} {done}/{total} {numbers}", flush=True)

        train(recipe, folder, report, parent=find_bundle())
    metrics: dict[str, float] = dict(load_bundle(path).metrics["test"])
    return metrics


if __name__ == "__main__":
    main()
