"""What it costs that a detector has another k step: `python benchmarks/k_step.py --per-class 10 --seed 1`.

The same samples are seen by detectors whose k step is other by a factor, of 257 x 257 pixels with the
beam in the corner, and labelled by the quadrant network: as they are, and resampled to the network's k step.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace

import numpy as np

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry

FACTORS = (0.72, 0.77, 0.85, 0.93, 0.98, 1.0, 1.02, 1.07, 1.15, 1.23, 1.3)


def main() -> None:
    """Measure, and print a line of JSON for each factor and number of photons."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--per-class", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--family", default="poly")
    parser.add_argument("--photons", type=float, nargs="*", default=[0.0, 1e6, 1e5], help="0: no noise")
    parser.add_argument("--factors", type=float, nargs="*", default=FACTORS)
    arguments = parser.parse_args()
    classifier = Classifier("quadrant")
    numbers = np.repeat(classifier.bundle.classes, arguments.per_class)
    for photons in arguments.photons:
        for factor in arguments.factors:
            rng = np.random.default_rng(arguments.seed)
            grid = replace(quadrant(257), pitch=quadrant(257).pitch * factor)
            right = {"as it is": 0, "resampled": 0}
            for number in numbers:
                frame = intensity(draw_system(arguments.family, int(number), rng), grid)
                if photons:
                    frame = rng.poisson(frame * (photons / frame.sum()))
                for name, k_step in (("as it is", None), ("resampled", grid.pitch)):
                    frames, geometry = [np.asarray(frame, np.float32)], FrameGeometry(grid.shape)
                    (result,) = classifier.label(frames, geometry, k_step=k_step)
                    right[name] += result.disk_number == number
            accuracy = {name: round(count / len(numbers), 4) for name, count in right.items()}
            print(
                json.dumps({"photons": photons, "factor": factor, "frames": len(numbers), **accuracy}),
                flush=True,
            )


if __name__ == "__main__":
    main()
