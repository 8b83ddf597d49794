"""Bright frames, and whole numbers without noise: what the network names alone, and with its heads.

Frames of `poly`, 257 x 257: of 10^6 photons and more, and without noise, but stored as whole numbers, rounded
or cut off, with a largest pixel of 3000 to 10^6. Prints a table in Markdown; two minutes on two cores:

    python benchmarks/whole_numbers.py [--per-class 12] [--seed 4242]
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.schema import Flag
from training.frames import balanced_set
from training.recipe import FrameRecipe

LARGEST = (3e3, 2e4, 65535.0, 1e6)
PHOTONS = (1e6, 2e6, 1e7, 1e8, 1e9)

Frames = list[NDArray[np.float32]]


def main() -> None:
    """Label, and print a row for each kind."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--per-class", type=int, default=12)
    parser.add_argument("--seed", type=int, default=4242)
    options = parser.parse_args()
    alone, both = Classifier("quadrant", alone=True), Classifier("quadrant")
    print(
        "| frames | the network alone | with its heads | mean confidence | flagged |\n|---|---|---|---|---|"
    )
    for name, frames, geometry, truth in _kinds(both, options.per_class, options.seed):
        by_network, by_both = (classifier.label(frames, geometry) for classifier in (alone, both))
        confidence = np.mean([result.confidence for result in by_both])
        flagged = np.mean([Flag.OUT_OF_DISTRIBUTION in result.flags for result in by_both])
        shares = (f"{_right(results, truth):.3f}" for results in (by_network, by_both))
        print(f"| {name} | {' | '.join(shares)} | {confidence:.3f} | {flagged:.3f} |", flush=True)


def _right(results: list[FrameResult], truth: list[int]) -> float:
    return float(np.mean([result.disk_number == n for result, n in zip(results, truth, strict=True)]))


def _kinds(
    classifier: Classifier, per_class: int, seed: int
) -> Iterator[tuple[str, Frames, FrameGeometry, list[int]]]:
    for photons in PHOTONS:
        recipe = FrameRecipe(families=("poly",), photons=(photons, photons), noisy_share=1.0)
        drawn = list(balanced_set(recipe, per_class, seed, "test"))
        frames, truth = [of.frame for of in drawn], [of.disk_number for of in drawn]
        yield f"{photons:g} photons", frames, drawn[0].geometry, truth
    drawn = list(balanced_set(FrameRecipe(families=("poly",)), per_class, seed, "test"))
    geometry, truth = drawn[0].geometry, [of.disk_number for of in drawn]
    valid = geometry.unmasked(classifier.bundle.preprocessing.center_half_width)
    for largest in LARGEST:
        scaled = [of.frame * np.float32(largest / of.frame[valid].max()) for of in drawn]
        yield f"rounded, at most {largest:g}", [np.rint(frame) for frame in scaled], geometry, truth
        yield f"cut off, at most {largest:g}", [np.floor(frame) for frame in scaled], geometry, truth


if __name__ == "__main__":
    main()
