"""The network: ResNet-50 as Keras ships it, with one channel and any frame size."""

from __future__ import annotations

from typing import TYPE_CHECKING

from speckle_plugin.extras import extra_needed

if TYPE_CHECKING:
    import keras

__all__ = ["build_resnet50"]


def build_resnet50(class_count: int) -> keras.Model:
    """Build a ResNet-50 that takes (N, rows, columns, 1) and returns logits (N, classes).

    Global average pooling makes it serve any frame of at least 32 x 32 pixels.

    Parameters
    ----------
    class_count : int
        Length of the output.

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
    # float32 whatever the policy: softmax of half-precision logits loses calibration.
    logits = keras.layers.Dense(class_count, name="logits", dtype="float32")(body.output)
    return keras.Model(body.input, logits, name="resnet50")
