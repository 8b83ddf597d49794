"""What trains: Keras on TensorFlow, or on JAX. The one place where the two differ, but for the layers.

TensorFlow has `tf.distribute`, TensorBoard and the quicker layers of `training.fast_network`. JAX serves
machines that have it and no TensorFlow. Both see the same frames and compute the same losses.
"""

from __future__ import annotations

import os
from importlib.metadata import version
from typing import Literal

from speckle_plugin.network.keras_backend import import_keras_on

__all__ = ["MOMENTUM", "BackendName", "begin", "count_gpus", "versions_of"]

BackendName = Literal["tensorflow", "jax"]

MOMENTUM = 0.9
"""Of the moving batch statistics: runs are short, and Keras's 0.99 would lag behind."""


def begin(backend: BackendName) -> None:
    """Import Keras on a backend.

    Raises
    ------
    BackendError
        If it runs on another one in this process.
    MissingExtraError
        If one of the two is not installed.
    """
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # off by default on CPUs without AVX-512
    import_keras_on(backend)


def count_gpus(backend: BackendName) -> int:
    """Give the number of GPUs that a backend finds."""
    if backend == "jax":
        import jax

        return sum(device.platform == "gpu" for device in jax.devices())
    import tensorflow as tf

    return len(tf.config.list_physical_devices("GPU"))


def versions_of(backend: BackendName) -> dict[str, str]:
    """Give the versions of Keras and of what it runs on."""
    import keras

    if backend == "jax":
        return {"jax": version("jax"), "keras": keras.__version__}
    import tensorflow as tf  # its wheels have several names

    return {"tensorflow": tf.__version__, "keras": keras.__version__}
