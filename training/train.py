"""Train a network by a recipe, with checkpoints from which it resumes, into a bundle."""

from __future__ import annotations

import contextlib
import json
import math
import os
import platform
from collections.abc import Callable, Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulated_devices import grid_by_name
from speckle_plugin.models import Bundle, build_resnet50, save_bundle, weights_of
from speckle_plugin.preprocessing import FrameGeometry, prepare, view_shape
from training.evaluate import evaluate
from training.frames import balanced_set, stream
from training.recipe import TrainingRecipe

if TYPE_CHECKING:
    import keras

__all__ = ["train"]

SETTLING_STEPS = 30

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with what is being done, steps done, steps in all, and the newest numbers."""


def train(recipe: TrainingRecipe, folder: Path | str, report: Report | None = None) -> Bundle:
    """Train, evaluate on fresh test frames, and write `folder/NAME.bundle`.

    A checkpoint in `folder` from an earlier, interrupted run of the same recipe is
    resumed; the frames go on where they stopped.

    Parameters
    ----------
    recipe : TrainingRecipe
    folder : path
        For checkpoint, logs (TensorBoard) and the bundle.
    report : callable, optional
        Told of the progress after every step.

    Raises
    ------
    ValueError
        If the folder holds a checkpoint of another recipe.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on CPUs without AVX-512
    import keras
    import tensorflow as tf

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    _claim(folder, recipe)
    keras.mixed_precision.set_dtype_policy(recipe.precision)
    keras.utils.set_random_seed(recipe.seed)
    checkpoint, state_file = folder / "checkpoint.keras", folder / "state.json"

    strategy = tf.distribute.MirroredStrategy() if len(tf.config.list_physical_devices("GPU")) > 1 else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        state: dict[str, Any] = {"epoch": 0, "curves": []}
        if state_file.is_file():
            state = json.loads(state_file.read_text())
            model = keras.models.load_model(checkpoint.with_name(state["checkpoint"]))
        else:
            model = _compiled(recipe)

    data = _dataset(recipe, state["epoch"] * recipe.steps_per_epoch)
    model.fit(
        data,
        initial_epoch=state["epoch"],
        epochs=recipe.steps // recipe.steps_per_epoch,
        steps_per_epoch=recipe.steps_per_epoch,
        validation_data=_validation_set(recipe),
        validation_batch_size=recipe.batch,
        callbacks=[
            _checkpoints(checkpoint, state_file, state),
            _one_cycle(recipe, state["epoch"] * recipe.steps_per_epoch),
            _progress(recipe, report),
            keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False),
        ],
        shuffle=False,
        verbose=0,
    )
    _settle_batch_statistics(model, data, report)
    keras.mixed_precision.set_dtype_policy("float32")
    bundle = _bundle(recipe, model, state["curves"])
    path = folder / f"{recipe.name}.bundle"
    rounded = save_bundle(bundle, path)  # measured with the weights as they are shipped
    metrics = evaluate(rounded, recipe.frames, recipe.test_per_class, recipe.seed, report)
    return save_bundle(Bundle(**{**vars(rounded), "metrics": {"test": metrics}, "sha256": ""}), path)


def _compiled(recipe: TrainingRecipe) -> keras.Model:
    import keras

    model = build_resnet50(len(recipe.frames.disk_numbers))
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = 0.9  # runs of a few hundred steps: 0.99 would lag behind
    model.compile(
        optimizer=keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=1.0
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # XLA takes minutes to compile ResNet-50 for a CPU, and its convolutions are slower there.
        jit_compile=False,
    )
    return model


def _prepared(
    recipe: TrainingRecipe, frames: Iterator[tuple[NDArray[np.float32], int]]
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Give network inputs (rows, columns, 1) and class indices; a view for each quadrant of a frame."""
    geometry = _geometry(recipe)
    index = {n: i for i, n in enumerate(recipe.frames.disk_numbers)}
    for frame, disk_number in frames:
        for view in prepare(frame, recipe.preprocessing, geometry)[0]:
            yield view[..., None], index[disk_number]


def _geometry(recipe: TrainingRecipe) -> FrameGeometry:
    grid = grid_by_name(recipe.frames.grid, recipe.frames.size)
    return FrameGeometry(grid.shape, grid.beam_center)


def _dataset(recipe: TrainingRecipe, first_step: int) -> Any:
    import tensorflow as tf

    views, *shape = view_shape(recipe.preprocessing, _geometry(recipe))
    start = first_step * recipe.batch // views

    def generate() -> Iterator[tuple[NDArray[np.float32], int]]:
        return _prepared(recipe, stream(recipe.frames, recipe.seed, "train", start))

    signature = (tf.TensorSpec((*shape, 1), tf.float32), tf.TensorSpec((), tf.int32))
    return (
        tf.data.Dataset.from_generator(generate, output_signature=signature).batch(recipe.batch).prefetch(2)
    )


def _validation_set(recipe: TrainingRecipe) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    frames = balanced_set(recipe.frames, recipe.validation_per_class, recipe.seed, "validation")
    views, classes = zip(*_prepared(recipe, frames), strict=True)
    return np.stack(views), np.array(classes, np.int32)


def _checkpoints(checkpoint: Path, state_file: Path, state: dict[str, Any]) -> keras.callbacks.Callback:
    import keras

    class Checkpoints(keras.callbacks.Callback):
        """Save network, optimizer and curves after every epoch; a kill in between harms neither."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            state["epoch"] = epoch + 1
            state["curves"].append({"epoch": epoch + 1, **{k: float(v) for k, v in (logs or {}).items()}})
            target = checkpoint.with_name(f"checkpoint-{epoch + 1}.keras")
            self.model.save(target)
            partial = state_file.with_suffix(".partial")
            partial.write_text(json.dumps(state | {"checkpoint": target.name}, indent=1))
            partial.replace(state_file)
            for old in checkpoint.parent.glob("checkpoint-*.keras"):
                if old != target:
                    old.unlink()

    return Checkpoints()


def _one_cycle(recipe: TrainingRecipe, first_step: int) -> keras.callbacks.Callback:
    import keras

    class OneCycle(keras.callbacks.Callback):
        """Set the learning rate of every step: linear warm-up, then a cosine to 0.

        A keras LearningRateSchedule would be traced once for each of 214 variables, which
        takes two minutes before the first step.
        """

        def __init__(self) -> None:
            super().__init__()
            self.step = first_step

        def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
            warm, rest = recipe.warmup_steps, recipe.steps - recipe.warmup_steps
            if self.step < warm:
                fraction = (self.step + 1) / warm
            else:
                fraction = 0.5 * (1.0 + math.cos(math.pi * (self.step - warm) / rest))
            self.model.optimizer.learning_rate = recipe.learning_rate * fraction
            self.step += 1

    return OneCycle()


def _progress(recipe: TrainingRecipe, report: Report | None) -> keras.callbacks.Callback:
    import keras

    class Progress(keras.callbacks.Callback):
        """Tell of every step, and stop where the loss is no number any more."""

        def __init__(self) -> None:
            super().__init__()
            self.numbers: dict[str, float] = {}
            self.epoch = 0

        def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.epoch = epoch

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            self.numbers |= {k: float(v) for k, v in (logs or {}).items() if k.startswith("val_")}

        def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
            self.numbers |= {k: float(v) for k, v in (logs or {}).items()}
            if not math.isfinite(self.numbers["loss"]):
                raise ValueError(
                    f"the loss is not finite after {batch + 1} steps of epoch {self.epoch + 1}: "
                    "give a lower learning_rate; the checkpoint of the last epoch is kept"
                )
            if report:
                report("train", self.epoch * recipe.steps_per_epoch + batch + 1, recipe.steps, self.numbers)

    return Progress()


def _settle_batch_statistics(model: keras.Model, data: Any, report: Report | None) -> None:
    """Let the moving means and variances catch up with the final weights.

    They lag behind while the weights move; frames are seen, and no weight is changed. Source:
    Wu and Johnson, Rethinking "Batch" in BatchNorm, 2021, section 3.
    """
    for step, (inputs, _) in enumerate(data.take(SETTLING_STEPS)):
        model(inputs, training=True)
        if report:
            report("settle", step + 1, SETTLING_STEPS, {})


def _bundle(recipe: TrainingRecipe, model: keras.Model, curves: list[dict[str, float]]) -> Bundle:
    import keras
    import tensorflow as tf

    return Bundle(
        name=recipe.name,
        version=recipe.version,
        classes=recipe.frames.disk_numbers,
        preprocessing=recipe.preprocessing,
        weights=weights_of(model),
        pitch=grid_by_name(recipe.frames.grid, recipe.frames.size).pitch,
        training={
            "recipe": asdict(recipe),
            "seed": recipe.seed,
            "frames_seen": recipe.steps * recipe.batch,
            "curves": curves,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
        },
    )


def _claim(folder: Path, recipe: TrainingRecipe) -> None:
    """Write the recipe into the folder, or check that the checkpoint there is of this recipe."""
    text = json.dumps(asdict(recipe), indent=1, sort_keys=True)
    file = folder / "recipe.json"
    if file.is_file() and file.read_text() != text:
        raise ValueError(
            f"{folder} holds a training run of another recipe: "
            "give another folder, or remove it to start anew"
        )
    file.write_text(text)
