"""Equal disks: errors of very many frames, and the least probability of a right answer.

    python benchmarks/equal_disks.py [--per-class 1000] [--size 257] [--photons 1e4] [--seed 19]

The case that the paper is about. One error is to be seen where the sets of `speckle evaluate` have none.
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from rich.progress import track

from speckle_plugin.network.classifier import Classifier
from training.frames import balanced_set
from training.recipe import FrameRecipe

BATCH = 32


def main() -> None:
    """Classify, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--per-class", type=int, default=1000)
    parser.add_argument("--size", type=int, default=257)
    parser.add_argument("--photons", type=float, default=0.0, help="in the frame; none are counted without")
    parser.add_argument("--seed", type=int, default=19)
    options = parser.parse_args()
    counted = (options.photons, options.photons) if options.photons else ()
    recipe = FrameRecipe(families=("mono",), size=options.size, photons=counted, noisy_share=1.0)
    classifier, drawn = Classifier(), balanced_set(recipe, options.per_class, options.seed, "test")
    errors: list[str] = []
    least, total = 1.0, options.per_class * len(recipe.disk_numbers)
    for _ in track(range(-(-total // BATCH)), "classifying"):
        batch = list(itertools.islice(drawn, BATCH))
        found = classifier.classify(np.stack([d.frame for d in batch]), batch[0].geometry)
        for drawn_frame, number, confidence in zip(batch, found.disk_number, found.confidence, strict=True):
            if number == drawn_frame.disk_number:
                least = min(least, float(confidence))
            else:
                errors.append(f"{drawn_frame.disk_number} as {number} ({confidence:.3f})")
    print(f"{len(errors)} errors of {total}; least probability of a right answer {least:.4f}")
    print("\n".join(errors))


if __name__ == "__main__":
    main()
