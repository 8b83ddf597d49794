"""Are two looks at a frame better than one? Its transposition is a frame of the same sample, mirrored.

The network's probabilities for a frame, for its transposition, and for both joined as the two quadrants of a
centred frame are (the mean of their logarithms):

    python benchmarks/test_time_views.py [--model quadrant] [--per-class 100] [--seed 9000001]
"""

from __future__ import annotations

import argparse
import itertools

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import FrameGeometry
from training.frames import DrawnFrame, balanced_set
from training.recipe import FrameRecipe

BATCH = 32
CASES = {
    "mono": FrameRecipe(families=("mono",)),
    "mono, 1e4 photons": FrameRecipe(families=("mono",), photons=(1e4, 1e4), noisy_share=1.0),
    "poly": FrameRecipe(families=("poly",)),
    "poly, 1e4 photons": FrameRecipe(families=("poly",), photons=(1e4, 1e4), noisy_share=1.0),
    "constant_radius": FrameRecipe(families=("constant_radius",)),
    "poly_published": FrameRecipe(families=("poly_published",)),
}


def main() -> None:
    """Compare, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle for quadrants")
    parser.add_argument("--per-class", type=int, default=100, help="frames for each disk number")
    parser.add_argument("--seed", type=int, default=9_000_001)
    options = parser.parse_args()
    classifier = Classifier(find_bundle(options.model))
    print(f"| {'frames':20} | number | frame | transposed | joined | changed |\n|---|---|---|---|---|---|")
    for name, recipe in CASES.items():
        drawn = balanced_set(recipe, options.per_class, options.seed, f"views, {name}")
        found = []
        while chunk := list(itertools.islice(drawn, BATCH)):
            found.append(_labels(classifier, chunk))
        truth, frame, transposed, joined = np.concatenate(found).T
        shares = [float((labels == truth).mean()) for labels in (frame, transposed, joined)]
        changed = float((joined != frame).mean())
        print(
            f"| {name:20} | {len(truth)} | {' | '.join(f'{s:.4f}' for s in shares)} | {changed:.4f} |",
            flush=True,
        )


def _labels(classifier: Classifier, drawn: list[DrawnFrame]) -> NDArray[np.int64]:
    """Give truth and the labels of each frame, its transposition, and both, shape (frames, 4)."""
    geometry = drawn[0].geometry
    turned = FrameGeometry(geometry.shape[::-1], geometry.beam_center[::-1])
    inputs = np.concatenate(
        [
            classifier.prepare([d.frame for d in drawn], geometry),
            classifier.prepare([np.ascontiguousarray(d.frame.T) for d in drawn], turned),
        ],
        axis=1,
    )
    classes = np.array(classifier.bundle.classes)
    output = classifier.run(inputs)
    parts = [NetworkOutput(output.logits[view::2], output.features[view::2]) for view in (0, 1)]
    posteriors = [classifier.posterior(part, 1) for part in parts] + [classifier.posterior(output, 2)]
    found = [classes[p.probabilities.argmax(axis=1)] for p in posteriors]
    return np.stack([[d.disk_number for d in drawn], *found], axis=1)


if __name__ == "__main__":
    main()
