"""Training on more than one device: several GPUs of a machine, or several machines."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras

__all__ = ["choose_strategy", "place_among_workers", "prepare_for_workers"]


def choose_strategy() -> Any:
    """Give the strategy that spreads training over what there is, or None for a single device.

    Several machines: set TF_CONFIG on each as TensorFlow documents it, and start the same
    command on all. Several GPUs in one machine are found.
    """
    import tensorflow as tf

    if place_among_workers()[1] > 1:
        return tf.distribute.MultiWorkerMirroredStrategy()
    if len(tf.config.list_physical_devices("GPU")) > 1:
        return tf.distribute.MirroredStrategy()
    return None


def place_among_workers() -> tuple[int, int]:
    """Give the index of this machine, and how many train together, by TF_CONFIG."""
    config = json.loads(os.environ.get("TF_CONFIG", "{}"))
    workers = config.get("cluster", {}).get("worker", [""])
    return int(config.get("task", {}).get("index", 0)), len(workers)


def prepare_for_workers(model: keras.Model, strategy: Any, data: Any) -> None:
    """Make `model.fit` work on several machines, where Keras 3 by itself fails.

    It reduces batches and logs over the machines in a way that MultiWorkerMirroredStrategy refuses
    (https://github.com/keras-team/keras/issues/20585). So loss and metrics are built here, and the
    functions of a step, which Keras lets a model choose, reduce each number of the logs.

    Parameters
    ----------
    model : keras.Model
        Compiled in the strategy's scope.
    strategy : tf.distribute.MultiWorkerMirroredStrategy
    data : tf.data.Dataset
        As it will be given to `fit`.
    """
    import tensorflow as tf

    with strategy.scope():
        model._symbolic_build(data_batch=next(iter(data)))  # noqa: SLF001  Keras has no public way
    model._maybe_symbolic_build = lambda **_: None  # noqa: SLF001

    def distributed(step: Any) -> Any:
        @tf.function
        def run(iterator: Any) -> dict[str, Any]:
            logs = strategy.run(step, args=(next(iterator),))
            return {name: strategy.reduce("MEAN", value, axis=None) for name, value in logs.items()}

        return run

    train, test = distributed(model.train_step), distributed(model.test_step)

    def make_train_function(force: bool = False) -> None:
        model.train_function = train

    def make_test_function(force: bool = False) -> None:
        model.test_function = test

    model.make_train_function = make_train_function
    model.make_test_function = make_test_function
