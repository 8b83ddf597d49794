"""Training speed: plain `model.fit` in float32 beside what `speckle train` does.

The same ResNet-50, the same inputs, the same batch, one after the other; batches are in memory, so
that only the training itself is timed. Every measurement is a process of its own, since TensorFlow
reads its settings once. The last column is the ratio to plain Keras with TensorFlow as it comes.
bfloat16 is left out on a machine without instructions for it.

    python benchmarks/training_speed.py [--size 129] [--batch 40] [--steps 3] [--rounds 2]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A way to train: Keras's precision, the layers of `training.fast_network`, oneDNN switched on."""

    precision: str
    quick: bool
    onednn: bool


VARIANTS = {
    "plain Keras, TensorFlow as it comes": Variant("float32", quick=False, onednn=False),
    "plain Keras, oneDNN": Variant("float32", quick=False, onednn=True),
    "quick layers, oneDNN": Variant("float32", quick=True, onednn=True),
    "plain Keras, oneDNN, bfloat16": Variant("mixed_bfloat16", quick=False, onednn=True),
    "quick layers, oneDNN, bfloat16": Variant("mixed_bfloat16", quick=True, onednn=True),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=129, help="rows and columns of the network's input")
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--steps", type=int, default=3, help="steps timed, after two for warming up")
    parser.add_argument("--rounds", type=int, default=2, help="each variant is timed so often, in turn")
    parser.add_argument("--measure", choices=VARIANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure is not None:
        print(_rate(VARIANTS[options.measure], options.size, options.batch, options.steps))
        return
    from speckle_plugin.network.engines.openvino import has_bfloat16

    names = [n for n, v in VARIANTS.items() if v.precision == "float32" or has_bfloat16()]
    best = dict.fromkeys(names, 0.0)
    for _ in range(options.rounds):
        for name in names:
            best[name] = max(best[name], _measure(name, options))
    plain = best[names[0]]
    print(f"{options.size} x {options.size}, batch {options.batch}, best of {options.rounds}")
    for name, rate in best.items():
        print(f"{name:36s} {rate:7.1f} frames/s  {rate / plain:5.2f}")


def _measure(name: str, options: argparse.Namespace) -> float:
    """Measure one variant in a process of its own; give frames/s."""
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    environment.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if VARIANTS[name].onednn:
        environment["TF_ENABLE_ONEDNN_OPTS"] = "1"
    settings = [f"--{key}={getattr(options, key)}" for key in ("size", "batch", "steps")]
    command = [sys.executable, __file__, "--measure", name, *settings]
    output = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout
    return float(output.split()[-1])


def _rate(variant: Variant, size: int, batch: int, steps: int) -> float:
    """Train and give frames/s."""
    import keras
    import numpy as np

    from speckle_plugin.network import build_resnet50
    from training.fast_network import quicken

    keras.mixed_precision.set_dtype_policy(variant.precision)
    model = build_resnet50(19)
    if variant.quick:
        model = quicken(model)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(batch, size, size, 1)).astype(np.float32)
    classes = rng.integers(19, size=batch)
    model.fit(inputs, classes, batch_size=batch, epochs=2, verbose=0)
    started = time.perf_counter()
    model.fit(inputs, classes, batch_size=batch, epochs=steps, verbose=0)
    return batch * steps / (time.perf_counter() - started)


if __name__ == "__main__":
    main()
