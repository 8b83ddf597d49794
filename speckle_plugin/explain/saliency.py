"""What the network looks at in one frame: which pixels, and which part of its input.

Use :func:`explain` to see whether a label hangs on the speckles, as it should, or on a dead
pixel, the beam stop's edge or a detector's gap. Two maps answer: the saliency, pixel by
pixel of the raw frame, and Grad-CAM, coarse, on the network's input.
"""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.network.engines.base import NetworkOutput
from speckle_plugin.network.keras_backend import import_keras_on_tensorflow
from speckle_plugin.preprocessing import Correction, FrameGeometry, usable_pixels
from speckle_plugin.preprocessing.gradient import vector_jacobian_product
from speckle_plugin.schema import Status, join_flags

__all__ = ["DifferentiableNetwork", "Explanation", "explain", "network_of"]


@dataclass(frozen=True, eq=False)
class Explanation:
    """What speaks for one disk number in one frame.

    The score of a disk number is its logit, divided by the bundle's temperature and added
    up over the views: a difference of 1 between two scores is a factor e between their probabilities, as
    far as the network alone gives them. Where a head that counts disks is heard beside it
    (:mod:`speckle_plugin.network.trust.head`), that has a say in label and probability, and none in the
    maps.

    Parameters
    ----------
    disk_number : int
        The disk number explained: the label, unless another was asked for.
    probability : float
        Of that disk number.
    result : FrameResult
        What the classifier says of the frame: its label, all probabilities, flags.
    inputs : array, shape (views, view rows, view columns), float32
        What the network sees.
    saliency : array, shape (rows, columns), float32
        For each pixel of the frame, the derivative of the score by the pixel's intensity, times that
        intensity: by how much the score grows for each relative growth of that pixel. Positive pixels
        speak for the disk number, negative ones against. Pixels that the network does not see have 0.
    grad_cam : array, shape (views, view rows, view columns), float32
        Grad-CAM of the last convolution's output, upsampled to the input: where the features are that
        speak for the disk number, never negative. As coarse as that output, which has one point for
        32 x 32 of the input; there, but for those below 0, the values add up to the score less a constant.

    Notes
    -----
    The saliency is gradient times input (Shrikumar et al., arXiv:1605.01713), taken on the frame's
    intensities, and not the bare gradient of Simonyan et al., arXiv:1312.6034. Intensities of a speckle
    pattern span many powers of ten, and per photon the faintest pixels would always weigh most. The product
    compares pixels by equal relative changes, such as one factor in the logarithm of the intensity. The
    network's input does not change with the frame's scale, so the saliency adds up to 0 over the frame.

    Grad-CAM: Selvaraju et al., ICCV 2017, arXiv:1610.02391.
    """

    disk_number: int
    probability: float
    result: FrameResult
    inputs: NDArray[np.float32]
    saliency: NDArray[np.float32]
    grad_cam: NDArray[np.float32]


def explain(
    classifier: Classifier | Bundle | str | None,
    frame: NDArray[np.generic],
    geometry: FrameGeometry,
    disk_number: int | None = None,
    k_step: float | None = None,
    *,
    center_assumed: bool = False,
    correction: Correction | None = None,
) -> Explanation:
    """Find what in a frame speaks for a disk number.

    It is computed by Keras on TensorFlow in float32, whatever engine the classifier has; the
    first call for a bundle takes seconds to build the network, further ones keep it.

    Parameters
    ----------
    classifier : Classifier, Bundle, str or None
        A classifier or a bundle; or the name or path of one, None for the default.
    frame : array, shape (rows, columns)
        A raw frame of any real dtype.
    geometry : FrameGeometry
    disk_number : int, optional
        The disk number to explain; by default the one that the network finds.
    k_step : float, optional
        Wave number per pixel of the detector, if known; only the result's flags depend on it.
    center_assumed : bool
        Whether nobody said where the beam is; only the result's flags depend on it.
    correction : Correction, optional
        Of the frame, before anything else: it is the corrected frame that is explained.

    Returns
    -------
    Explanation

    Raises
    ------
    ValueError
        If the frame can't be classified, or the network does not know the disk number.
    """
    bundle = classifier.bundle if isinstance(classifier, Classifier) else classifier
    if not isinstance(bundle, Bundle):
        bundle = find_bundle(bundle)
    if disk_number is not None and disk_number not in bundle.classes:
        raise ValueError(
            f"the network {bundle.name!r} does not know the disk number {disk_number}: "
            f"choose among {', '.join(map(str, bundle.classes))}"
        )
    network = network_of(bundle)
    reader = Classifier(bundle, network)
    (result,) = reader.label(
        [frame], geometry, k_step=k_step, center_assumed=center_assumed, correction=correction
    )
    if result.status is not Status.CLASSIFIED:
        raise ValueError(
            f"the frame has no label to explain, being {join_flags(result.flags)}: expected a frame of "
            f"{geometry.shape} finite intensities, some of them above 0 and not all alike"
        )
    chosen = result.disk_number if disk_number is None else disk_number
    if correction is not None:
        frame, geometry = correction(frame), correction.without_blind(geometry)
    frame = np.asarray(frame, np.float32)
    (inputs,) = reader.prepare(frame, geometry)
    index = bundle.classes.index(chosen)
    by_input, grad_cam = network.explain(inputs, index)
    by_input = by_input[None] / bundle.temperature
    (gradient,) = vector_jacobian_product(by_input, frame, bundle.preprocessing, geometry)
    # Masked pixels may hold what is not finite, and 0 times that is not 0.
    intensities = np.where(usable_pixels(geometry, bundle.preprocessing), frame, 0.0)
    return Explanation(
        chosen,
        float(result.probabilities[index]),
        result,
        inputs,
        (gradient * intensities).astype(np.float32),
        grad_cam / np.float32(bundle.temperature),
    )


class DifferentiableNetwork:
    """A bundle's network, as an engine for the classifier that gives gradients as well.

    Attributes
    ----------
    whole : keras.Model
        Gives logits, features, and the last convolution's output.
    """

    name, precision, device = "tensorflow", "float32", "any"

    def __init__(self, bundle: Bundle) -> None:
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
        os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")  # share the GPU with other processes
        import_keras_on_tensorflow()
        import keras

        network = bundle.build_network()
        # The last but one layer averages the last convolution's output to the features.
        pooling = network.layers[-2]
        self.whole = keras.Model(network.input, [network.output, pooling.output, pooling.input])

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        logits, features, _ = self.whole(inputs[..., None], training=False)
        return NetworkOutput(logits.numpy(), features.numpy())

    def explain(
        self, inputs: NDArray[np.float32], index: int
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Give the derivative of a logit by each input, and Grad-CAM, both of the shape of the inputs."""
        import tensorflow as tf

        batch = tf.constant(inputs[..., None])
        with tf.GradientTape() as tape:
            tape.watch(batch)
            logits, _, maps = self.whole(batch, training=False)
            # Each view's logit hangs on that view alone, so the sum has the gradients of all.
            score = tf.reduce_sum(logits[:, index])
        by_input, by_maps = tape.gradient(score, [batch, maps])
        # Selvaraju et al., equations 1 and 2.
        weights = tf.reduce_mean(by_maps, axis=(1, 2), keepdims=True)
        cam = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        cam = tf.image.resize(cam, inputs.shape[1:], method="bilinear")
        return by_input.numpy()[..., 0], cam.numpy()[..., 0]


@functools.lru_cache(maxsize=1)
def network_of(bundle: Bundle) -> DifferentiableNetwork:
    """Give the network of a bundle; the last one is kept."""
    return DifferentiableNetwork(bundle)
