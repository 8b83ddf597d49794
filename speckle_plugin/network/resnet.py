"""The network: ResNet-50 as Keras ships it, with one channel and any frame size."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.extras import extra_needed

if TYPE_CHECKING:
    import keras

__all__ = ["STEMS", "Stem", "build_resnet50", "resnet50_shapes", "widened"]


class Stem(NamedTuple):
    """The first convolution: rows and columns of its kernel, its stride, and the zeros around the input."""

    size: int
    stride: int
    padding: int


STEMS = {"resnet50": Stem(7, 2, 3), "resnet50_wide": Stem(14, 4, 6)}

STAGES = ((64, 3), (128, 4), (256, 6), (512, 3))
"""Filters and blocks of each stage."""


def build_resnet50(class_count: int, architecture: str = "resnet50") -> keras.Model:
    """Build a ResNet-50 that takes (N, rows, columns, 1) and returns logits (N, classes).

    Global average pooling makes it serve any frame of at least 32 x 32 pixels.

    Parameters
    ----------
    class_count : int
        Length of the output.
    architecture : {"resnet50", "resnet50_wide"}
        `resnet50_wide` begins with a convolution of 14 x 14 points at every fourth, for inputs of twice
        the size at hardly more cost. It is what four interleaved maps of half the size are to a plain
        ResNet-50 of four channels ("space to depth"), without the rearranging.

    Notes
    -----
    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016, as
    implemented in :func:`keras.applications.ResNet50`.
    """
    with extra_needed():
        import keras

    body = keras.applications.ResNet50(
        include_top=False, weights=None, input_shape=(None, None, 1), pooling="avg"
    )
    stem = STEMS[architecture]
    if stem != STEMS["resnet50"]:

        def with_stem(layer: keras.Layer) -> keras.Layer:
            config = layer.get_config()
            if layer.name == "conv1_pad":
                config["padding"] = stem.padding
            elif layer.name == "conv1_conv":
                config |= {"kernel_size": stem.size, "strides": stem.stride}
            return layer.__class__.from_config(config)

        body = keras.models.clone_model(body, clone_function=with_stem)
    # float32 whatever the policy: softmax of half-precision logits loses calibration.
    logits = keras.layers.Dense(class_count, name="logits", dtype="float32")(body.output)
    return keras.Model(body.input, logits, name=architecture)


def widened(weights: Mapping[str, NDArray[np.float32]]) -> dict[str, NDArray[np.float32]]:
    """Make weights of a `resnet50_wide` of those of a `resnet50`.

    Each weight of the first kernel goes to four points, divided by four: the answer to an input each of
    whose points is drawn as 2 x 2 is that of the `resnet50` to the input itself.
    """
    kernel = weights["conv1_conv/kernel"]
    return {**weights, "conv1_conv/kernel": np.repeat(np.repeat(kernel, 2, 0), 2, 1) / np.float32(4.0)}


def resnet50_shapes(class_count: int, architecture: str = "resnet50") -> dict[str, tuple[int, ...]]:
    """Give path and shape of each variable of :func:`build_resnet50`, without building it."""
    shapes: dict[str, tuple[int, ...]] = {}

    def convolution(name: str, size: int, channels: int, filters: int) -> None:
        shapes[f"{name}_conv/kernel"] = (size, size, channels, filters)
        shapes[f"{name}_conv/bias"] = (filters,)
        for vector in ("gamma", "beta", "moving_mean", "moving_variance"):
            shapes[f"{name}_bn/{vector}"] = (filters,)

    convolution("conv1", STEMS[architecture].size, 1, 64)
    channels = 64
    for stage, (filters, blocks) in enumerate(STAGES, start=2):
        for block in range(1, blocks + 1):
            name = f"conv{stage}_block{block}"
            if block == 1:
                convolution(f"{name}_0", 1, channels, 4 * filters)
            convolution(f"{name}_1", 1, channels, filters)
            convolution(f"{name}_2", 3, filters, filters)
            convolution(f"{name}_3", 1, filters, 4 * filters)
            channels = 4 * filters
    return shapes | {"logits/kernel": (channels, class_count), "logits/bias": (class_count,)}
