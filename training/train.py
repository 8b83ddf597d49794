"""Train a network by a recipe, with checkpoints from which it resumes, into a bundle."""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from simulated_devices import grid_by_name
from speckle_plugin.network import Bundle, build_resnet50, save_bundle, weights_of, widened
from training.backend import MOMENTUM, begin, versions_of
from training.batches import batches
from training.calibrate import calibrate
from training.evaluation.measure import evaluate
from training.frames import DrawnFrame, balanced_set, stream
from training.inputs import Source, prepared_inputs, view_shape_of
from training.parts import write_whole
from training.precision import supported_precision
from training.progress import Report
from training.recipe import TrainingRecipe
from training.workers import choose_strategy, place_among_workers, prepare_for_workers

if TYPE_CHECKING:
    import keras

__all__ = ["make_checkpoints", "train"]

SETTLING_STEPS = 30


def train(
    recipe: TrainingRecipe,
    folder: Path | str,
    report: Report | None = None,
    *,
    parent: Bundle | None = None,
    source: Source | None = None,
    validation: Iterable[DrawnFrame] | None = None,
    finish: Callable[[Bundle], Bundle] | None = None,
    origin: Mapping[str, Any] | None = None,
) -> Bundle:
    """Train, calibrate, evaluate on fresh test frames, and write `folder/NAME.bundle`.

    A checkpoint in `folder` from an earlier, interrupted run of the same recipe is
    resumed; the frames go on where they stopped.

    Parameters
    ----------
    recipe : TrainingRecipe
    folder : path
        For checkpoint, logs (TensorBoard) and the bundle.
    report : callable, optional
        Told of the progress after every step.
    parent : Bundle, optional
        Start from its weights instead of random ones.
    source : callable, optional
        Gives the training frames from an index on; by default the recipe's stream.
    validation : iterable of DrawnFrame, optional
        On which the loss is watched; by default simulated by the recipe.
    finish : callable, optional
        Calibrates and measures the trained bundle, in place of what the recipe's simulated
        frames would do.
    origin : mapping, optional
        Where the frames of `source` come from, in plain values; it goes into the bundle's
        `training` as `origin`, and only a checkpoint of the same origin is resumed.

    Raises
    ------
    ValueError
        If the folder holds a checkpoint of another recipe, parent or origin, the parent knows other classes
        or is of an architecture from which the recipe's can't be had, or the loss is not finite.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if parent is not None and parent.classes != recipe.frames.disk_numbers:
        raise ValueError(
            f"the parent {parent.name!r} knows the disk numbers {parent.classes}, "
            f"the recipe is for {recipe.frames.disk_numbers}: they must be the same"
        )
    _claim(folder, recipe, parent, origin)
    begin(recipe.backend)
    import keras

    on_tensorflow = recipe.backend == "tensorflow"
    checkpoint, state_file = folder / "checkpoint.keras", folder / "state.json"
    state: dict[str, Any] = {"epoch": 0, "curves": [], "best": math.inf, "waited": 0}
    if state_file.is_file():
        state = json.loads(state_file.read_text())
    # A checkpoint goes on in the precision in which it began, whatever machine it is on.
    if "precision" not in state:
        state["precision"] = supported_precision(recipe.precision, recipe.backend)
    precision = state["precision"]
    keras.mixed_precision.set_dtype_policy(precision)
    keras.utils.set_random_seed(recipe.seed)

    strategy = choose_strategy() if on_tensorflow else None
    with strategy.scope() if strategy else contextlib.nullcontext():
        if "checkpoint" in state:
            if on_tensorflow:
                import training.fast_network  # noqa: F401 so that Keras knows its layers

            model = keras.models.load_model(folder / state["checkpoint"])
        else:
            model = _compiled(recipe, parent)
    data = _dataset(recipe, state["epoch"] * recipe.steps_per_epoch, source)
    if on_tensorflow and place_among_workers()[1] > 1:
        prepare_for_workers(model, strategy, data)
    # One that was stopped early, and then killed before its bundle was written, is not trained on.
    if recipe.patience is None or state["waited"] < recipe.patience:
        model.fit(
            data,
            initial_epoch=state["epoch"],
            epochs=recipe.steps // recipe.steps_per_epoch,
            steps_per_epoch=recipe.steps_per_epoch,
            validation_data=_validation_set(recipe, validation),
            validation_batch_size=recipe.batch,
            callbacks=[
                make_checkpoints(checkpoint, state_file, state, recipe.patience),
                _learning_rate(recipe, state["epoch"] * recipe.steps_per_epoch),
                _progress(recipe, report),
                *_tensorboard(recipe, folder),
            ],
            shuffle=False,
            verbose=0,
        )
    if recipe.patience is not None:
        if "best_checkpoint" not in state:
            raise ValueError(
                f"the validation loss was not finite in any of {state['epoch']} epochs: give a lower "
                "learning_rate, and another folder"
            )
        model = keras.models.load_model(folder / state["best_checkpoint"])
    if recipe.ema_momentum:
        model.optimizer.finalize_variable_values(model.trainable_variables)
    _settle_batch_statistics(model, _dataset(recipe, 0, source), report)
    keras.mixed_precision.set_dtype_policy("float32")
    path, bare = folder / f"{recipe.name}.bundle", folder / f"{recipe.name}.not-calibrated.bundle"
    seen = state["epoch"] * recipe.steps_per_epoch * recipe.batch // view_shape_of(recipe, source)[0]
    # Calibrated and measured with the weights as they are shipped, rounded to float16.
    bundle = save_bundle(_bundle(recipe, model, seen, precision, state["curves"], parent, origin), bare)
    if finish is not None:
        bundle = finish(bundle)
    else:
        bundle = calibrate(bundle, recipe.frames, recipe.seed, report)
        metrics = evaluate(bundle, recipe.frames, recipe.test_per_class, recipe.seed, report, alone=True)
        bundle = replace(bundle, metrics={**bundle.metrics, "test": metrics})
    bundle = save_bundle(bundle, path)
    bare.unlink()
    return bundle


def _compiled(recipe: TrainingRecipe, parent: Bundle | None) -> keras.Model:
    import keras

    if parent is None:
        model = build_resnet50(len(recipe.frames.disk_numbers), recipe.architecture)
    else:
        model = _grown(parent, recipe.architecture).build_network()
    if recipe.quick and recipe.backend == "tensorflow":
        from training.fast_network import quicken

        model = quicken(model)
    elif recipe.quick:
        _set_momentum(model)
    averaging = (
        {"use_ema": True, "ema_momentum": recipe.ema_momentum, "ema_overwrite_frequency": None}
        if recipe.ema_momentum
        else {}
    )
    if recipe.optimizer == "adam":
        optimizer = keras.optimizers.Adam(recipe.learning_rate, **averaging)
    else:
        optimizer = keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, global_clipnorm=1.0, **averaging
        )
    model.compile(
        optimizer=optimizer,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        # On TensorFlow, XLA takes minutes to compile ResNet-50 for a CPU, and its convolutions are slower
        # there; JAX has nothing else.
        jit_compile=recipe.backend == "jax",
    )
    return model


def _set_momentum(model: keras.Model) -> None:
    """Let moving batch statistics follow faster: by Keras's own 0.99 three quarters of the old ones stay."""
    import keras

    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = MOMENTUM


def _grown(parent: Bundle, architecture: str) -> Bundle:
    """Give the parent in the recipe's architecture.

    Raises
    ------
    ValueError
        If it can't be had from the parent's.
    """
    if parent.architecture == architecture:
        return parent
    if (parent.architecture, architecture) != ("resnet50", "resnet50_wide"):
        raise ValueError(
            f"the parent {parent.name!r} is a {parent.architecture}, the recipe is for a {architecture}: "
            "take another parent, or set architecture"
        )
    return replace(parent, architecture=architecture, weights=widened(parent.weights))


def _dataset(recipe: TrainingRecipe, first_step: int, source: Source | None) -> Any:
    """Give the batches from a step on: as Keras on TensorFlow takes them best, or as an iterator."""
    if recipe.backend != "tensorflow":
        return batches(recipe, first_step, source)
    import tensorflow as tf

    views, *shape = view_shape_of(recipe, source)
    start = first_step * recipe.batch // views
    worker, workers = place_among_workers()

    def generate() -> Iterator[tuple[NDArray[np.float32], int]]:
        if source is None:
            frames = stream(
                recipe.frames, recipe.seed, "train", start + worker, recipe.training_frames, workers
            )
        else:
            frames = itertools.islice(source(start), worker, None, workers)
        return prepared_inputs(recipe, frames)

    signature = (tf.TensorSpec((*shape, 1), tf.float32), tf.TensorSpec((), tf.int32))
    # Each machine draws frames of its own, so that none is to be dealt out among them.
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return (
        tf.data.Dataset.from_generator(generate, output_signature=signature)
        .batch(recipe.batch, drop_remainder=True)
        .prefetch(4)
        .with_options(options)
    )


def _validation_set(
    recipe: TrainingRecipe, frames: Iterable[DrawnFrame] | None
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    if frames is None:
        frames = balanced_set(recipe.frames, recipe.validation_per_class, recipe.seed, "validation")
    views, classes = zip(*prepared_inputs(recipe, frames), strict=True)
    return np.stack(views), np.array(classes, np.int32)


def make_checkpoints(
    checkpoint: Path, state_file: Path, state: dict[str, Any], patience: int | None
) -> keras.callbacks.Callback:
    """Give the callback that saves a training after each epoch, with its best networks if it has patience."""
    import keras

    class Checkpoints(keras.callbacks.Callback):
        """Save network, optimizer and curves after every epoch; a kill in between harms neither."""

        def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
            logs = {k: float(v) for k, v in (logs or {}).items()}
            state["epoch"] = epoch + 1
            state["curves"].append({"epoch": epoch + 1, **logs})
            target = checkpoint.with_name(f"checkpoint-{epoch + 1}.keras")
            self.model.save(target)
            state["checkpoint"] = target.name
            if logs["val_loss"] < state["best"]:
                state.update(best=logs["val_loss"], best_checkpoint=target.name, waited=0)
            else:
                state["waited"] += 1
                if patience is not None and state["waited"] >= patience:
                    self.model.stop_training = True
            write_whole(state_file, json.dumps(state, indent=1))
            kept = {target.name, state.get("best_checkpoint") if patience is not None else None}
            for old in checkpoint.parent.glob("checkpoint-*.keras"):
                if old.name not in kept:
                    old.unlink()

    return Checkpoints()


def _learning_rate(recipe: TrainingRecipe, first_step: int) -> keras.callbacks.Callback:
    import keras

    class LearningRate(keras.callbacks.Callback):
        """Set the learning rate of every step.

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
            elif recipe.schedule == "constant":
                fraction = 1.0
            else:
                fraction = 0.5 * (1.0 + math.cos(math.pi * (self.step - warm) / rest))
            if hasattr(
                self.model, "jax_state_sync"
            ):  # else JAX would go on with the rate of the epoch's begin
                self.model.jax_state_sync()
            self.model.optimizer.learning_rate = recipe.learning_rate * fraction
            self.step += 1

    return LearningRate()


def _tensorboard(recipe: TrainingRecipe, folder: Path) -> list[keras.callbacks.Callback]:
    """Give the callback for TensorBoard, which is a part of TensorFlow."""
    import keras

    if recipe.backend != "tensorflow":
        return []
    return [keras.callbacks.TensorBoard(str(folder / "tensorboard"), write_graph=False)]


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
                    "give a lower learning_rate, and another folder"
                )
            if report:
                report("train", self.epoch * recipe.steps_per_epoch + batch + 1, recipe.steps, self.numbers)

    return Progress()


def _settle_batch_statistics(model: keras.Model, data: Any, report: Report | None) -> None:
    """Let the moving means and variances catch up with the final weights.

    They lag behind while the weights move; frames are seen, and no weight is changed. The frames are the
    first of the training, so that a training that was resumed comes to the same. Source: Wu and Johnson,
    Rethinking "Batch" in BatchNorm, 2021, section 3.
    """
    _set_momentum(model)
    for step, (inputs, _) in enumerate(itertools.islice(data, SETTLING_STEPS)):
        model(inputs, training=True)
        if report:
            report("settle", step + 1, SETTLING_STEPS, {})


def _bundle(
    recipe: TrainingRecipe,
    model: keras.Model,
    frames_seen: int,
    precision: str,
    curves: list[dict[str, float]],
    parent: Bundle | None,
    origin: Mapping[str, Any] | None,
) -> Bundle:
    return Bundle(
        name=recipe.name,
        version=recipe.version,
        classes=recipe.frames.disk_numbers,
        preprocessing=recipe.preprocessing,
        weights=weights_of(model),
        architecture=recipe.architecture,
        pitch=grid_by_name(recipe.frames.grid, recipe.frames.size).pitch,
        parent="" if parent is None else parent.sha256,
        training={
            "recipe": asdict(recipe),
            "seed": recipe.seed,
            "precision": precision,
            "frames_seen": frames_seen,
            "curves": curves,
            "date": datetime.now(UTC).date().isoformat(),
            "versions": {
                **versions_of(recipe.backend),
                "numpy": np.__version__,
                "python": platform.python_version(),
            },
            **({} if origin is None else {"origin": origin}),
        },
    )


def _claim(
    folder: Path, recipe: TrainingRecipe, parent: Bundle | None, origin: Mapping[str, Any] | None
) -> None:
    """Write the recipe into the folder, or check that a checkpoint there is of this recipe."""
    claim = {"recipe": asdict(recipe), "parent": parent.sha256 if parent else ""}
    if origin is not None:
        claim["origin"] = origin
    text = json.dumps(claim, indent=1, sort_keys=True)
    file = folder / "recipe.json"
    if file.is_file() and file.read_text() == text:
        return
    if (folder / "state.json").is_file():
        raise ValueError(
            f"{folder} holds a training run of another recipe{', parent or frames' if origin else ''}: "
            "give another folder, or remove it to start anew"
        )
    write_whole(file, text)
