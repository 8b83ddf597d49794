"""Do the engines agree? The same frames through OpenVINO and TensorFlow, and how fast each is.

100 frames of each disk number, with and without photon noise. Labels may differ only where two
disk numbers are as good as equally probable; the largest difference in probability is printed.

    python benchmarks/engines.py [--model quadrant] [--per-class 100] [--precision bfloat16]
"""

from __future__ import annotations

import argparse
import time

import numpy as np
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, draw_system, intensity, quadrant
from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines.openvino import OpenvinoEngine
from speckle_plugin.preprocessing import FrameGeometry

BATCH = 32
SEED = 1
TIE = 0.02
"""Difference of the two highest probabilities up to which a frame counts as a tie."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle")
    parser.add_argument("--per-class", type=int, default=100)
    parser.add_argument("--precision", choices=["bfloat16", "float32"], help="of OpenVINO; else the quicker")
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    engines = {
        "openvino": Classifier(bundle, OpenvinoEngine(bundle, options.precision)),
        "tensorflow": Classifier(bundle, "tensorflow"),
    }
    inputs = _inputs(engines["openvino"], options.per_class)
    probabilities: dict[str, NDArray[np.float32]] = {}
    for name, classifier in engines.items():
        classifier.infer(inputs[:BATCH])
        started = time.perf_counter()
        parts = [classifier.infer(inputs[i : i + BATCH]).probabilities for i in range(0, len(inputs), BATCH)]
        rate = len(inputs) / (time.perf_counter() - started)
        probabilities[name] = np.concatenate(parts)
        engine = classifier.engine
        print(f"{name:12s} {engine.precision:10s} {engine.device:32s} {rate:8.1f} frames/s")
    one, other = probabilities["openvino"], probabilities["tensorflow"]
    differ = one.argmax(axis=1) != other.argmax(axis=1)
    best = np.sort(one, axis=1)
    ties = best[:, -1] - best[:, -2] < TIE
    print(f"frames                      {len(one)}")
    print(f"other label                 {differ.sum()} (of them ties: {(differ & ties).sum()})")
    print(f"largest difference          {np.abs(one - other).max():.2g} in a probability")
    print(f"mean of each frame's        {np.abs(one - other).max(axis=1).mean():.2g}")


def _inputs(classifier: Classifier, per_class: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(SEED)
    grid = quadrant()
    response = DetectorResponse(photons=1e6)
    prepared = []
    for number in classifier.bundle.classes:
        for i in range(per_class):
            frame = intensity(draw_system(("mono", "poly")[i % 2], number, rng), grid)
            if i % 4 < 2:
                frame = response.respond(frame, rng)
            prepared.append(classifier.prepare(frame, FrameGeometry(grid.shape)))
    return np.concatenate(prepared)


if __name__ == "__main__":
    main()
