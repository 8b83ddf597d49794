"""A linear head on the features of the network and the moments of the rings, beside the network alone.

The network stays as it is. A linear discriminant is fitted to four fifths of the frames, and the rest are
labelled by the network, by the discriminant of its features, of the moments alone, and of both:

    python benchmarks/joined_head.py [--model quadrant] [--family poly] [--frames 6080] [--seed 99]
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.preprocessing import StandardScaler

from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from training.frames import balanced_set
from training.recipe import FrameRecipe

BATCH = 32
RING_WIDTH, RINGS = 2, 128
SHRINKAGE = 0.05


def moments(frame: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give logarithms of mean, and of second and third moment over its power, of each ring, shape (384,)."""
    rows, columns = np.indices(frame.shape)
    ring = (np.hypot(rows, columns) / RING_WIDTH).astype(np.intp)
    inside = ring < RINGS
    count = np.bincount(ring[inside], minlength=RINGS)
    values = frame[inside].astype(np.float64)
    first, second, third = (np.bincount(ring[inside], values**p, RINGS) / count for p in (1, 2, 3))
    return np.log(np.concatenate([first, second / first**2, third / first**3]))


def main() -> None:
    """Fit, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle for quadrants")
    parser.add_argument("--family", default="poly")
    parser.add_argument("--frames", type=int, default=6080)
    parser.add_argument("--seed", type=int, default=99)
    options = parser.parse_args()
    classifier = Classifier(find_bundle(options.model))
    recipe = FrameRecipe(families=(options.family,))
    per_class = max(options.frames // len(recipe.disk_numbers), 5)
    drawn = balanced_set(recipe, per_class, options.seed, "joined head")
    features: list[NDArray[np.float32]] = []
    found: list[NDArray[np.int64]] = []
    of_rings: list[NDArray[np.float64]] = []
    truth: list[int] = []
    while chunk := list(itertools.islice(drawn, BATCH)):
        output = classifier.run(classifier.prepare([d.frame for d in chunk], chunk[0].geometry))
        features.append(output.features)
        found.append(np.array(classifier.bundle.classes)[output.logits.argmax(axis=1)])
        of_rings.extend(moments(d.frame) for d in chunk)
        truth.extend(d.disk_number for d in chunk)
    numbers, by_network = np.array(truth), np.concatenate(found)
    shuffled = np.random.default_rng(options.seed).permutation(len(numbers))
    fitted, held_out = np.split(shuffled, [4 * len(numbers) // 5])
    print(f"{len(fitted)} frames fitted, {len(held_out)} held out\n{'':22} right  within one")
    _report("network", by_network[held_out], numbers[held_out])
    both = np.concatenate(features), np.array(of_rings)
    for name, inputs in (
        ("features", both[0]),
        ("moments", both[1]),
        ("features and moments", np.hstack(both)),
    ):
        scaled = StandardScaler().fit(inputs[fitted]).transform(inputs)
        head = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE)
        head.fit(scaled[fitted], numbers[fitted])
        _report(name, head.predict(scaled[held_out]), numbers[held_out])


def _report(name: str, found: NDArray[np.int64], truth: NDArray[np.int64]) -> None:
    print(f"{name:22} {(found == truth).mean():.4f} {(np.abs(found - truth) <= 1).mean():.4f}", flush=True)


if __name__ == "__main__":
    main()
