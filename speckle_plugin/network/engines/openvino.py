"""The network on OpenVINO, the faster engine on CPUs.

The graph is built straight from the bundle's weights, layer for layer what
:func:`keras.applications.ResNet50` builds, with each batch normalization folded into the
convolution before it. So neither TensorFlow nor a converted model on disk is needed, and
the engine is ready in about a second. A test holds it to the TensorFlow engine's answers.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import NetworkOutput
from speckle_plugin.network.resnet import STEMS

__all__ = ["OpenvinoEngine", "has_quick_bfloat16", "operations"]

STAGES = ((2, 3, 1), (3, 4, 2), (4, 6, 2), (5, 3, 2))
"""Number of each stage in the layers' names, its blocks, and the stride of its first block."""

BATCH_NORMALIZATION_EPSILON = 1.001e-5


class OpenvinoEngine:
    """Runs a bundle's network by OpenVINO on the CPU.

    It computes in bfloat16 where the processor has instructions for it, else in float32. All
    cores work on a single input; several are shared out among the cores, which takes less time
    for each (a tenth less on two cores).

    Parameters
    ----------
    bundle : Bundle
    """

    name = "openvino"

    def __init__(self, bundle: Bundle) -> None:
        import openvino as ov

        core = ov.Core()
        self.device = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        fast_bfloat16 = has_quick_bfloat16()
        self.precision = "bfloat16" if fast_bfloat16 else "float32"
        network = _resnet50(bundle)

        def compiled(hint: str) -> Any:
            precision = "bf16" if fast_bfloat16 else "f32"
            options = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint}
            return core.compile_model(network, "CPU", options)

        self._single = compiled("LATENCY").create_infer_request()
        several = compiled("THROUGHPUT")
        count = several.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._several = [several.create_infer_request() for _ in range(count)]

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        images = np.ascontiguousarray(inputs[:, None], np.float32)
        requests = [self._single] if len(images) == 1 else self._several[: len(images)]
        for request, part in zip(requests, np.array_split(images, len(requests)), strict=True):
            request.start_async([part])
        for request in requests:
            request.wait()
        logits, features = (
            np.concatenate([request.get_output_tensor(i).data for request in requests]) for i in range(2)
        )
        return NetworkOutput(logits, features)


def has_quick_bfloat16() -> bool:
    """Tell whether this CPU has instructions for bfloat16."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def operations(bundle: Bundle, shape: tuple[int, int]) -> float:
    """Give the floating-point operations of the network for one input of shape (rows, columns).

    Multiplications and additions of the convolutions, which are nearly all there is.
    """
    model = _resnet50(bundle)
    model.reshape([1, 1, *shape])
    total = 0.0
    for operation in model.get_ops():
        if operation.get_type_name() == "Convolution":
            _, *kernel = operation.input(1).get_shape()
            total += 2.0 * np.prod(kernel) * np.prod(operation.output(0).get_shape())
    return total


def _resnet50(bundle: Bundle) -> Any:
    import openvino as ov
    from openvino import opset13 as ops

    weights, stem = bundle.weights, STEMS[bundle.architecture]

    def convolution(x: Any, name: str, stride: int = 1, padding: int = 0) -> Any:
        kernel = weights[f"{name}_conv/kernel"]
        gamma, beta, mean, variance = (
            weights[f"{name}_bn/{part}"] for part in ("gamma", "beta", "moving_mean", "moving_variance")
        )
        scale = gamma / np.sqrt(variance + BATCH_NORMALIZATION_EPSILON)
        bias = (weights[f"{name}_conv/bias"] - mean) * scale + beta
        # Made into constants here, since OpenVINO itself would go through Python lists.
        folded = ops.constant(np.ascontiguousarray((kernel * scale).transpose(3, 2, 0, 1)))
        y = ops.convolution(x, folded, [stride, stride], [padding, padding], [padding, padding], [1, 1])
        return ops.add(y, ops.constant(bias.reshape(1, -1, 1, 1)))

    def block(x: Any, name: str, stride: int, projects: bool) -> Any:
        shortcut = convolution(x, f"{name}_0", stride) if projects else x
        y = ops.relu(convolution(x, f"{name}_1", stride))
        y = ops.relu(convolution(y, f"{name}_2", padding=1))
        return ops.relu(ops.add(shortcut, convolution(y, f"{name}_3")))

    image = ops.parameter([-1, 1, -1, -1], np.float32, name="image")
    x = ops.relu(convolution(image, "conv1", stem.stride, stem.padding))
    # Keras pads with zeros before the pooling; after a ReLU that is the same as no padding value.
    x = ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)
    for stage, blocks, stride in STAGES:
        for number in range(1, blocks + 1):
            first = number == 1
            x = block(x, f"conv{stage}_block{number}", stride if first else 1, projects=first)
    x = ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)
    kernel, bias = (
        ops.constant(np.ascontiguousarray(weights[f"logits/{part}"])) for part in ("kernel", "bias")
    )
    logits = ops.add(ops.matmul(x, kernel, False, False), bias)
    return ov.Model([logits, x], [image], "resnet50")
