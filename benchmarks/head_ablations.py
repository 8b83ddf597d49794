"""What a head learns from, and how: each variant fitted to as many frames as the others.

The frames are those that `speckle calibrate --head-frames` drew, and what was seen of them; the last parts
are held out. Prints a table in Markdown: right labels without noise and with photons, and within one disk:

    speckle calibrate quadrant --head-frames 164000 --folder runs/head --seed 771
    python benchmarks/head_ablations.py --folder runs/head [--frames 80000] [--only variants]
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from network_ablations import ordinal_loss
from numpy.typing import NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from speckle_plugin.network.trust.head import head_inputs
from speckle_plugin.network.trust.oddness import perceive
from speckle_plugin.network.trust.spots import SPOTS
from speckle_plugin.network.trust.statistics import COUNTED, STATISTICS
from training import head
from training.head import HeadFrames, read_part

HELD_OUT = 7
"""Parts of the folder."""

EPOCHS = 15
SHRINKAGE = 0.03

Logits = Callable[[NDArray[np.float32], NDArray[np.intp], NDArray[np.float32]], NDArray[np.floating]]
"""Gives logits of frames, by other frames and their classes."""


def perceptron(epochs: int = EPOCHS, softness: float = head.SOFTNESS, **settings: Any) -> Logits:
    """Give a fit as that of :mod:`training.head`, but without teachers, and with other settings."""

    def fit(inputs: NDArray[np.float32], truth: NDArray[np.intp], of: NDArray[np.float32]) -> Any:
        labels = head.soft_labels(truth, int(truth.max()) + 1, softness)
        return perceive(of, head.fit_perceptron(inputs, labels, 0, epochs=epochs, **settings))

    return fit


def taught(inputs: NDArray[np.float32], truth: NDArray[np.intp], of: NDArray[np.float32]) -> Any:
    """Fit as the shipped heads are fitted."""
    return perceive(of, head.fit_taught(inputs, head.soft_labels(truth, int(truth.max()) + 1), 0))


def ordinal(inputs: NDArray[np.float32], truth: NDArray[np.intp], of: NDArray[np.float32]) -> Any:
    """Fit a perceptron whose loss grows by how far off the number is, too."""
    from keras.losses import categorical_crossentropy

    def loss(labels: Any, logits: Any) -> Any:
        return categorical_crossentropy(labels, logits, from_logits=True) + ordinal_loss(labels, logits)

    labels = head.soft_labels(truth, int(truth.max()) + 1)
    return perceive(of, head.fit_perceptron(inputs, labels, 0, epochs=EPOCHS, loss=loss))


def discriminant(inputs: NDArray[np.float32], truth: NDArray[np.intp], of: NDArray[np.float32]) -> Any:
    """Fit a linear discriminant."""
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=SHRINKAGE).fit(inputs, truth)
    return model.decision_function(of)


def columns() -> dict[str, NDArray[np.intp]]:
    """Give the places of groups of inputs."""
    ends = np.cumsum([*STATISTICS.values(), *SPOTS.values()])
    of_group = np.split(np.arange(ends[-1]), ends[:-1])
    named = dict(zip([*STATISTICS, *SPOTS], of_group, strict=True))
    maps = np.concatenate([named[name] for name in SPOTS])
    return {
        "all": np.arange(ends[-1]),
        "without spots": np.concatenate([named[name] for name in STATISTICS]),
        "spots alone": maps,
        "spots of one map alone": named["sharpened by 2"],
        "without the normalized map": np.setdiff1d(np.arange(ends[-1]), named["normalized"]),
    }


def main() -> None:
    """Fit all variants, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--frames", type=int, default=80000)
    parser.add_argument("--only", choices=("variants", "curve"))
    options = parser.parse_args()
    paths = sorted(options.folder.glob("[0-9]" * 5 + ".npz"))
    learned, held_out = (
        HeadFrames.join(map(read_part, some)) for some in (paths[:-HELD_OUT], paths[-HELD_OUT:])
    )
    print("| | frames | no noise | photons | within one |\n|---|---|---|---|---|")
    groups = columns()
    if options.only != "curve":
        few = learned.first(options.frames)
        for name in groups:
            _report(name, few, held_out, groups[name], perceptron())
        _report("linear discriminant", few, held_out, groups["all"], discriminant)
        _report("ordinal loss", few, held_out, groups["all"], ordinal)
        _report("hard labels", few, held_out, groups["all"], perceptron(softness=0.0))
        _report("one layer of 96", few, held_out, groups["all"], perceptron(layers=(96,)))
        _report("annealed twice as long", few, held_out, groups["all"], perceptron(epochs=2 * EPOCHS))
        _report("annealed so, and taught by three others", few, held_out, groups["all"], taught)
    if options.only != "variants":
        count = 20000
        while count < 2 * len(learned.disk_numbers):
            _report("as it is shipped", learned.first(count), held_out, groups["all"], taught)
            count *= 2


def _report(name: str, learned: HeadFrames, held_out: HeadFrames, of: NDArray[np.intp], fit: Logits) -> None:
    rows = np.concatenate([learned.statistics, learned.spots], axis=1)
    others = np.concatenate([held_out.statistics, held_out.spots], axis=1)
    means, deviations = head.means_and_deviations(rows)
    classes = np.unique(learned.disk_numbers)
    inputs, asked = (head_inputs(r, means, deviations)[:, of] for r in (rows, others))
    found = classes[fit(inputs, np.searchsorted(classes, learned.disk_numbers), asked).argmax(axis=1)]
    off, counted = np.abs(found - held_out.disk_numbers), others[:, COUNTED] > 0.5
    cells = [(off[~counted] == 0).mean(), (off[counted] == 0).mean(), (off <= 1).mean()]
    print(f"| {name} | {len(rows)} | {' | '.join(f'{cell:.4f}' for cell in cells)} |", flush=True)


if __name__ == "__main__":
    main()
