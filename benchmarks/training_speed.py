"""Training speed: plain `model.fit` in float32 beside what `speckle train` does.

The same ResNet-50, the same inputs, the same batch, in one process one after the other; batches
are in memory, so that only the training itself is timed. The last column is the ratio to plain.
bfloat16 is left out on a machine without instructions for it.

    python benchmarks/training_speed.py [--size 129] [--batch 40] [--steps 6]
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

VARIANTS = {
    "plain Keras, float32": ("float32", False),
    "plain Keras, mixed bfloat16": ("mixed_bfloat16", False),
    "quick layers, float32": ("float32", True),
    "quick layers, mixed bfloat16": ("mixed_bfloat16", True),
}


def main() -> None:
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--size", type=int, default=129, help="rows and columns of the network's input")
    parser.add_argument("--batch", type=int, default=40)
    parser.add_argument("--steps", type=int, default=6, help="steps timed, after two for warming up")
    parser.add_argument("--rounds", type=int, default=2, help="each variant is timed so often, in turn")
    options = parser.parse_args()
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
    from speckle_plugin.engines.openvino import has_quick_bfloat16

    models = {
        name: _model(precision, quick)
        for name, (precision, quick) in VARIANTS.items()
        if precision == "float32" or has_quick_bfloat16()
    }
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(options.batch, options.size, options.size, 1)).astype(np.float32)
    classes = rng.integers(19, size=options.batch)
    best = dict.fromkeys(models, 0.0)
    for _ in range(options.rounds):
        for name, model in models.items():
            model.fit(inputs, classes, batch_size=options.batch, epochs=2, verbose=0)
            started = time.perf_counter()
            model.fit(inputs, classes, batch_size=options.batch, epochs=options.steps, verbose=0)
            rate = options.batch * options.steps / (time.perf_counter() - started)
            best[name] = max(best[name], rate)
    plain = next(iter(best.values()))
    print(f"{options.size} x {options.size}, batch {options.batch}, best of {options.rounds}")
    for name, rate in best.items():
        print(f"{name:30s} {rate:7.1f} frames/s  {rate / plain:5.2f}")


def _model(precision: str, quick: bool):  # type: ignore[no-untyped-def]
    import keras

    from speckle_plugin.models import build_resnet50
    from training.fast_network import quicken

    keras.mixed_precision.set_dtype_policy(precision)
    model = build_resnet50(19)
    if quick:
        model = quicken(model)
    model.compile(
        optimizer=keras.optimizers.AdamW(1e-4),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        jit_compile=False,
    )
    return model


if __name__ == "__main__":
    main()
