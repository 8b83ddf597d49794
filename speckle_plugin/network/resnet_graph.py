"""ResNet-50 as a graph of few operations, from a bundle's weights: for OpenVINO and for ONNX files.

Layer for layer it is what :func:`keras.applications.ResNet50` builds, with each batch normalization folded
into the convolution before it. So neither TensorFlow nor a converter is needed.
"""

from __future__ import annotations

from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.bundle import Bundle
from speckle_plugin.network.resnet import STEMS

__all__ = ["Operations", "resnet50_graph"]

STAGES = ((2, 3, 1), (3, 4, 2), (4, 6, 2), (5, 3, 2))
"""Number of each stage in the layers' names, its blocks, and the stride of its first block."""

BATCH_NORMALIZATION_EPSILON = 1.001e-5

Node = TypeVar("Node")


class Operations(Protocol[Node]):
    """What adds operations to a graph. Images are (N, channels, rows, columns)."""

    def convolution(
        self, x: Node, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int, padding: int
    ) -> Node:
        """Convolve; the kernel is (channels out, channels in, rows, columns)."""
        ...

    def relu(self, x: Node) -> Node:
        """Put 0 in the place of negative values."""
        ...

    def add(self, x: Node, y: Node) -> Node:
        """Add two images."""
        ...

    def max_pool(self, x: Node) -> Node:
        """Take the largest of 3 x 3 pixels at every second one, with one pixel of padding."""
        ...

    def average(self, x: Node) -> Node:
        """Average over rows and columns, to (N, channels)."""
        ...

    def dense(self, x: Node, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> Node:
        """Multiply (N, features) by a matrix (features, classes), and add the bias."""
        ...


def resnet50_graph(bundle: Bundle, image: Node, operations: Operations[Node]) -> tuple[Node, Node]:
    """Add ResNet-50 to a graph; gives its logits and its pooled features.

    Parameters
    ----------
    bundle : Bundle
        Of one of our architectures.
    image : node
        The input, (N, 1, rows, columns).
    operations : Operations
    """
    weights, stem = bundle.weights, STEMS[bundle.architecture]

    def convolution(x: Node, name: str, stride: int = 1, padding: int = 0) -> Node:
        kernel = weights[f"{name}_conv/kernel"]
        gamma, beta, mean, variance = (
            weights[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORMALIZATION_EPSILON)
        bias = (weights[f"{name}_conv/bias"] - mean) * scale + beta
        folded = np.ascontiguousarray((kernel * scale).transpose(3, 2, 0, 1))
        return operations.convolution(x, folded, bias, stride, padding)

    def block(x: Node, name: str, stride: int, projects: bool) -> Node:
        shortcut = convolution(x, f"{name}_0", stride) if projects else x
        y = operations.relu(convolution(x, f"{name}_1", stride))
        y = operations.relu(convolution(y, f"{name}_2", padding=1))
        return operations.relu(operations.add(shortcut, convolution(y, f"{name}_3")))

    x = operations.relu(convolution(image, "conv1", stem.stride, stem.padding))
    # Keras pads with zeros before the pooling; after a ReLU that is the same as no padding value.
    x = operations.max_pool(x)
    for stage, blocks, stride in STAGES:
        for number in range(1, blocks + 1):
            first = number == 1
            x = block(x, f"conv{stage}_block{number}", stride if first else 1, projects=first)
    features = operations.average(x)
    kernel, bias = (np.ascontiguousarray(weights[f"logits/{part}"]) for part in ("kernel", "bias"))
    return operations.dense(features, kernel, bias), features
