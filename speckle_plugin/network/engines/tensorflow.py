"""The network in Keras on TensorFlow, on the GPU where there is one."""

from __future__ import annotations

import os

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import NetworkOutput
from speckle_plugin.network.keras_backend import import_keras_on_tensorflow

__all__ = ["TensorflowEngine"]


class TensorflowEngine:
    """Runs a bundle's network by TensorFlow.

    On a GPU it computes in mixed float16, on a CPU in float32.

    Parameters
    ----------
    bundle : Bundle
    """

    name = "tensorflow"

    def __init__(self, bundle: Bundle) -> None:
        # TensorFlow uses oneDNN by default only on CPUs with AVX-512; elsewhere it helps as well.
        os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        import_keras_on_tensorflow()
        import keras
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        for gpu in gpus:
            try:  # share the GPU with other processes
                tf.config.experimental.set_memory_growth(gpu, True)
            except RuntimeError:
                pass  # TensorFlow is in use already, by the caller's choice of settings
        self.device = tf.config.experimental.get_device_details(gpus[0])["device_name"] if gpus else "CPU"
        self.precision = "float16" if gpus else "float32"
        before = keras.mixed_precision.dtype_policy()
        keras.mixed_precision.set_dtype_policy("mixed_float16" if gpus else "float32")
        try:
            network = bundle.build_network()
        finally:
            keras.mixed_precision.set_dtype_policy(before)
        whole = keras.Model(network.input, [network.output, network.layers[-2].output])
        self._compiled = tf.function(
            lambda x: whole(x[..., None], training=False),
            input_signature=[tf.TensorSpec((None, None, None), tf.float32)],
        )

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        logits, features = self._compiled(inputs)
        return NetworkOutput(logits.numpy(), features.numpy().astype(np.float32))
