"""The same ResNet-50, computed faster in training.

Profiles of a training step on CPUs show where plain Keras loses time: batch normalization
is made of single operations, the gradient of a 1 x 1 convolution's kernel is slower than
the matrix product that it is, and biases are summed up that the normalization after them
takes away again. :func:`quicken` replaces the layers; variables keep their paths and shapes,
so that what comes out is a plain ResNet-50. `benchmarks/training_speed.py` compares.
"""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from training.backend import MOMENTUM

__all__ = ["quicken"]


class WithoutBias(keras.layers.Conv2D):
    """A convolution that leaves its bias out and untrained, also when it is loaded from a checkpoint."""

    def build(self, input_shape: Any) -> None:
        """Make the variables."""
        super().build(input_shape)
        if self.bias is not None:
            self.bias.trainable = False


@keras.saving.register_keras_serializable("training")
class PointwiseConvolution(WithoutBias):
    """A convolution of 1 x 1 pixels, as the matrix product that it is."""

    def call(self, inputs: Any) -> Any:
        """Map (N, rows, columns, channels) to (N, rows / stride, columns / stride, filters)."""
        if self.strides != (1, 1):  # takes every second pixel; the gradient of a slice is slower
            inputs = tf.nn.avg_pool2d(inputs, 1, self.strides, "VALID")
        kernel = tf.reshape(tf.convert_to_tensor(self.kernel), (-1, self.filters))
        shape = tf.shape(inputs)
        product = tf.matmul(tf.reshape(inputs, (-1, inputs.shape[-1])), kernel)
        return tf.reshape(product, (shape[0], shape[1], shape[2], self.filters))


@keras.saving.register_keras_serializable("training")
class UnbiasedConvolution(WithoutBias):
    """A convolution of more pixels."""

    def call(self, inputs: Any) -> Any:
        """Convolve (N, rows, columns, channels)."""
        return self.convolution_op(inputs, self.kernel)


@keras.saving.register_keras_serializable("training")
class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization by TensorFlow's fused operation, which takes half precision as well."""

    def call(self, inputs: Any, training: bool | None = None, mask: Any = None) -> Any:
        """Normalize over all axes but the last, and follow the statistics in training."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
            inputs, self.gamma, self.beta, epsilon=self.epsilon, is_training=True
        )
        self.moving_mean.assign(self.moving_mean * MOMENTUM + mean * (1.0 - MOMENTUM))
        self.moving_variance.assign(self.moving_variance * MOMENTUM + variance * (1.0 - MOMENTUM))
        return outputs


def quicken(network: keras.Model) -> keras.Model:
    """Make a network of the same layers and weights that trains faster.

    Biases of convolutions before a batch normalization become 0 (they do nothing there but
    shift the moving mean, from which they are taken), and are trained no more.

    Parameters
    ----------
    network : keras.Model
        A ResNet-50 of :func:`speckle_plugin.network.build_resnet50`.
    """
    quick = keras.models.clone_model(network, clone_function=_quicker)
    quick.set_weights(network.get_weights())
    for layer in quick.layers:
        if isinstance(layer, WithoutBias):
            normalization = quick.get_layer(layer.name.removesuffix("_conv") + "_bn")
            normalization.moving_mean.assign(normalization.moving_mean - layer.bias)
            layer.bias.assign(tf.zeros_like(layer.bias))
    return quick


def _quicker(layer: keras.Layer) -> keras.Layer:
    if isinstance(layer, keras.layers.Conv2D):
        kind = PointwiseConvolution if layer.kernel_size == (1, 1) else UnbiasedConvolution
        return kind.from_config(layer.get_config())
    if isinstance(layer, keras.layers.BatchNormalization):
        return FusedBatchNormalization.from_config(layer.get_config())
    return layer.__class__.from_config(layer.get_config())
