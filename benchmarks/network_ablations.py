"""What the network may learn from besides the number, and how: variants trained on the same frames.

The network of `quadrant` is trained from random weights on frames of `poly` without noise, and tested on
frames that none of them saw. Each variant differs from the first one in one thing: neighbouring numbers (an
ordinal loss, or soft labels), two further outputs (the mean radius, and the effective number of scatterers),
the annealing of the learning rate, or averaged weights. Stopped, it begins again with the training it was at.
On two cores a training of 20000 frames takes about eight minutes. Prints a table in Markdown:

    python benchmarks/network_ablations.py --out runs/ablations [--seeds 1,2] [--variant "ordinal loss"]
"""

from __future__ import annotations

import argparse
import functools
import itertools
import json
import math
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from simulated_devices import DISK_NUMBERS, World, draw_system, grid_by_name
from simulated_devices.world import scattered
from speckle_plugin.network import build_resnet50
from speckle_plugin.preprocessing import FrameGeometry, prepare
from training.frames import generator
from training.head import SOFTNESS, soft_labels
from training.parts import in_processes, save_part, write_whole
from training.recipe import load_recipe

CLASSES = len(DISK_NUMBERS)
SAMPLE = 2
"""Further outputs: the mean radius, and the logarithm of the effective number of scatterers."""

RADIUS, RADIUS_SPREAD = 42.0, 16.0
LOG_NUMBER, LOG_NUMBER_SPREAD = 1.55, 0.58
"""About the means and the deviations in the family, so that both outputs are of the order of one."""

PART = 500
BATCH = 40
WARMUP = 60
LEARNING_RATE = 2e-3
SETTLING_STEPS = 30


@dataclass(frozen=True)
class Variant:
    """What differs in a training.

    Parameters
    ----------
    softness : float
        Of the labels, see :func:`training.head.soft_labels`.
    ordinal : float
        Weight of :func:`ordinal_loss`.
    sample : float
        Weight of the squared errors of the two further outputs.
    annealing : float
        Share of the steps in which the learning rate falls; before, it stays.
    averaging : float
        Momentum of averaged weights.
    """

    softness: float = 0.0
    ordinal: float = 0.0
    sample: float = 0.0
    annealing: float = 1.0
    averaging: float = 0.0


VARIANTS = {
    "as shipped": Variant(),
    "ordinal loss": Variant(ordinal=1.0),
    "soft labels": Variant(softness=SOFTNESS),
    "outputs for the sample": Variant(sample=1.0),
    "annealed in the last fifth": Variant(annealing=0.2),
    "averaged weights": Variant(averaging=0.98),
}


def main() -> None:
    """Draw what is not drawn, train what is not trained, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder, kept between runs")
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--test-frames", type=int, default=5000)
    parser.add_argument("--seeds", default="1,2")
    parser.add_argument("--variant", action="append", choices=VARIANTS)
    options = parser.parse_args()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    print(f"| | right, seeds {options.seeds} | mean | within one | loss | radius off by | number off by |")
    print("|---|---|---|---|---|---|---|")
    for name in options.variant or VARIANTS:
        found = [_result(name, int(seed), options) for seed in options.seeds.split(",")]
        mean = {key: float(np.mean([one[key] for one in found])) for key in found[0]}
        shares = ", ".join(f"{one['right']:.4f}" for one in found)
        cells = [f"{mean[key]:.4f}" for key in ("right", "within_one", "loss")]
        sample = [f"{mean[key]:.2f}" if VARIANTS[name].sample else "" for key in ("radius", "number")]
        print(f"| {name} | {shares} | {' | '.join(cells + sample)} |", flush=True)


def _result(name: str, seed: int, options: argparse.Namespace) -> dict[str, float]:
    """Give what a training came to: from the folder, or by training."""
    folder = options.out / f"seed-{seed}"
    key = f"{name.replace(' ', '_')}-{options.frames}-{options.test_frames}.json"
    path = folder / key
    note = {"variant": asdict(VARIANTS[name]), "frames": options.frames, "seed": seed}
    if path.is_file():
        kept = json.loads(path.read_text())
        if kept["note"] != note:
            raise SystemExit(
                f"{path} is of another variant {kept['note']}: remove it to train this one, {note}"
            )
        return dict(kept["result"])
    learned = _frames(folder / "train", seed, "train", options.frames)
    tested = _frames(options.out / "test", 0, "test", options.test_frames)
    result = _trained(VARIANTS[name], seed, *learned, *tested)
    write_whole(path, json.dumps({"note": note, "result": result}, indent=1))
    return result


def _frames(
    folder: Path, seed: int, purpose: str, count: int
) -> tuple[NDArray[np.float16], NDArray[np.float32]]:
    """Give inputs of the network, and targets: the class, and the two further outputs."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{part:05d}.npz" for part in range(math.ceil(count / PART))]
    missing = [part for part, path in enumerate(paths) if not path.exists()]
    for part in in_processes(functools.partial(_draw_part, folder, seed, purpose), missing):
        print(f"  {purpose} {seed}: part {part + 1} of {len(paths)}", flush=True)
    parts = [dict(np.load(path)) for path in paths]
    inputs, targets = (
        np.concatenate([part[name] for part in parts])[:count] for name in ("inputs", "targets")
    )
    return inputs, targets


def _draw_part(folder: Path, seed: int, purpose: str, part: int) -> None:
    recipe = load_recipe("quadrant")
    grid = grid_by_name(recipe.frames.grid, recipe.frames.size)
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    inputs, targets = [], []
    for index in range(part * PART, (part + 1) * PART):
        rng = generator(seed, f"ablations, {purpose}", index)
        number = int(rng.choice(DISK_NUMBERS))
        system = draw_system("poly", number, rng)
        frame = scattered(World(), system, np.zeros(number), None, grid)
        inputs.append(prepare(frame.astype(np.float32), recipe.preprocessing, geometry)[0][0])
        strengths = system.radii**4  # intensity of each near the beam
        effective = strengths.sum() ** 2 / (strengths**2).sum()
        targets.append(
            [
                DISK_NUMBERS.index(number),
                (system.radii.mean() - RADIUS) / RADIUS_SPREAD,
                (math.log(effective) - LOG_NUMBER) / LOG_NUMBER_SPREAD,
            ]
        )
    arrays: dict[str, NDArray[Any]] = {
        "inputs": np.array(inputs, np.float16),
        "targets": np.array(targets, np.float32),
    }
    save_part(folder / f"{part:05d}.npz", arrays)


def _trained(
    variant: Variant,
    seed: int,
    inputs: NDArray[np.float16],
    targets: NDArray[np.float32],
    test_inputs: NDArray[np.float16],
    test_targets: NDArray[np.float32],
) -> dict[str, float]:
    import keras

    from training.backend import begin
    from training.fast_network import quicken
    from training.precision import supported_precision

    begin("tensorflow")
    keras.mixed_precision.set_dtype_policy(supported_precision(load_recipe("quadrant").precision))
    keras.utils.set_random_seed(seed)
    model = quicken(build_resnet50(CLASSES + SAMPLE))
    averaging: dict[str, Any] = (
        {"use_ema": True, "ema_momentum": variant.averaging, "ema_overwrite_frequency": None}
        if variant.averaging
        else {}
    )
    optimizer = keras.optimizers.AdamW(LEARNING_RATE, weight_decay=2e-2, global_clipnorm=1.0, **averaging)
    model.compile(optimizer, _loss(variant))
    classes = targets[:, 0].astype(np.intp)
    labels = np.concatenate([soft_labels(classes, CLASSES, variant.softness), targets[:, 1:]], axis=1)
    steps = len(inputs) // BATCH

    def batch(step: int) -> NDArray[np.float32]:
        return inputs[step * BATCH : (step + 1) * BATCH, ..., None].astype(np.float32)

    for step in range(steps):
        model.optimizer.learning_rate = LEARNING_RATE * _fraction(step, steps, variant.annealing)
        loss = model.train_on_batch(batch(step), labels[step * BATCH : (step + 1) * BATCH])
        if (step + 1) % 50 == 0:
            print(f"  seed {seed}, {variant}: step {step + 1} of {steps}, mean loss {loss:.4f}", flush=True)
            model.reset_metrics()
    if variant.averaging:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    for step in itertools.islice(
        itertools.cycle(range(steps)), SETTLING_STEPS
    ):  # for the moving means of the last weights
        model(batch(step), training=True)
    keras.mixed_precision.set_dtype_policy("float32")
    return _measured(model, test_inputs, test_targets)


def _fraction(step: int, steps: int, annealing: float) -> float:
    """Give the learning rate of a step, over the largest one: warm-up, then cosine decay to 0."""
    falls = min(steps - WARMUP, round(annealing * steps))
    if step < WARMUP:
        return (step + 1) / WARMUP
    return 0.5 * (1.0 + math.cos(math.pi * max(0.0, step - (steps - falls)) / falls))


def _loss(variant: Variant) -> Callable[[Any, Any], Any]:
    """Give the loss of targets and outputs, shape (N, classes + further outputs)."""
    from keras import ops

    def loss(truth: Any, outputs: Any) -> Any:
        labels, logits = truth[:, :CLASSES], outputs[:, :CLASSES]
        total = ops.mean(ops.categorical_crossentropy(labels, logits, from_logits=True))
        if variant.ordinal:
            total += variant.ordinal * ordinal_loss(labels, logits)
        if variant.sample:
            off = truth[:, CLASSES:] - outputs[:, CLASSES:]
            total += variant.sample * ops.mean(ops.sum(ops.square(off), axis=1))
        return total

    return loss


def ordinal_loss(labels: Any, logits: Any) -> Any:
    """Give the mean of the squared differences of cumulated probabilities, summed over the classes.

    Source: Hou, Yu and Samaras, Squared Earth Mover's Distance loss, arXiv:1611.05916 (2016).
    """
    from keras import ops

    apart = ops.cumsum(ops.softmax(logits) - labels, axis=1)
    return ops.mean(ops.sum(ops.square(apart), axis=1))


def _measured(model: Any, inputs: NDArray[np.float16], targets: NDArray[np.float32]) -> dict[str, float]:
    outputs = np.concatenate(
        [
            np.asarray(model(inputs[first : first + 100, ..., None].astype(np.float32), training=False))
            for first in range(0, len(inputs), 100)
        ]
    )
    truth, logits = targets[:, 0].astype(np.intp), outputs[:, :CLASSES].astype(np.float64)
    off = np.abs(logits.argmax(axis=1) - truth)
    logits -= logits.max(axis=1, keepdims=True)
    of_truth = logits[np.arange(len(truth)), truth] - np.log(np.exp(logits).sum(axis=1))
    radius, number = (outputs[:, CLASSES:] - targets[:, 1:]).T
    return {
        "right": float((off == 0).mean()),
        "within_one": float((off <= 1).mean()),
        "loss": -float(of_truth.mean()),
        "radius": RADIUS_SPREAD * float(np.abs(radius).mean()),
        "number": float(np.abs(np.expm1(LOG_NUMBER_SPREAD * number)).mean()),
    }


if __name__ == "__main__":
    main()
