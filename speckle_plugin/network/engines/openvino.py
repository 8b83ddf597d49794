"""The network on OpenVINO, the faster engine on CPUs.

The graph is built straight from the bundle's weights, see :mod:`speckle_plugin.network.resnet_graph`, so that
the engine is ready in about a second. A test holds it to the TensorFlow engine's answers. Imported networks
are ONNX, which OpenVINO reads itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import NetworkOutput
from speckle_plugin.network.imported import run_graph
from speckle_plugin.network.resnet_graph import resnet50_graph

__all__ = [
    "OpenvinoEngine",
    "build_model",
    "has_bfloat16",
    "has_quick_bfloat16",
    "is_quick",
    "operations",
]


class OpenvinoEngine:
    """Runs a bundle's network by OpenVINO on the CPU.

    It computes in bfloat16 where that is quicker on this processor, else in float32; imported networks
    always in float32. All cores work on a single input; several are shared out among the cores, which takes
    less time for each (a tenth less on two cores).

    Parameters
    ----------
    bundle : Bundle
    precision : {"bfloat16", "float32"}, optional
        By default the quicker one.
    """

    name = "openvino"

    def __init__(self, bundle: Bundle, precision: Literal["bfloat16", "float32"] | None = None) -> None:
        import openvino as ov

        core = ov.Core()
        self.device = core.get_property("CPU", "FULL_DEVICE_NAME").strip()
        self._form = bundle.form
        quicker = "bfloat16" if has_quick_bfloat16() and self._form is None else "float32"
        self.precision = precision or quicker
        network = build_model(bundle)

        def compiled(hint: str) -> Any:
            form = "bf16" if self.precision == "bfloat16" else "f32"
            options = {"INFERENCE_PRECISION_HINT": form, "PERFORMANCE_HINT": hint}
            return core.compile_model(network, "CPU", options)

        self._single = compiled("LATENCY").create_infer_request()
        several = compiled("THROUGHPUT")
        count = several.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._several = [several.create_infer_request() for _ in range(count)]

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        if self._form is not None:
            form = self._form
            return run_graph(inputs, form, lambda images: self._infer(images, [form.output])[0])
        images = np.ascontiguousarray(inputs[:, None], np.float32)
        return NetworkOutput(*self._infer(images, [0, 1]))

    def _infer(self, images: NDArray[np.float32], outputs: Sequence[int | str]) -> list[NDArray[np.float32]]:
        fixed = self._form is not None and self._form.batch is not None
        requests = [self._single] if len(images) == 1 or fixed else self._several[: len(images)]
        for request, part in zip(requests, np.array_split(images, len(requests)), strict=True):
            request.start_async([part])
        for request in requests:
            request.wait()
        return [np.concatenate([_output(request, name) for request in requests]) for name in outputs]


def _output(request: Any, output: int | str) -> Any:
    found = request.get_output_tensor(output) if isinstance(output, int) else request.get_tensor(output)
    return found.data


def has_bfloat16() -> bool:
    """Tell whether this CPU has instructions for bfloat16."""
    import openvino as ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def has_quick_bfloat16() -> bool:
    """Tell whether this CPU computes quicker in bfloat16 than in float32."""
    info = Path("/proc/cpuinfo")
    return has_bfloat16() and is_quick(info.read_text() if info.exists() else "")


def is_quick(cpuinfo: str) -> bool:
    """Tell whether instructions for bfloat16 gain anything; yes where Linux does not describe the processor.

    Intel's with AVX-512 need AMX for it: without, as in some virtual machines, the network takes nearly twice
    and its training more than twice the time of float32. AMD's do not (docs/performance.md).
    """
    return "GenuineIntel" not in cpuinfo or "amx_bf16" in cpuinfo


def operations(bundle: Bundle, shape: tuple[int, int]) -> float:
    """Give the floating-point operations of the network for one input of shape (rows, columns).

    Multiplications and additions of the convolutions, which are nearly all there is.
    """
    model = build_model(bundle)
    if bundle.form is None:
        model.reshape([1, 1, *shape])
    total = 0.0
    for operation in model.get_ops():
        if operation.get_type_name() == "Convolution":
            _, *kernel = operation.input(1).get_shape()
            total += 2.0 * np.prod(kernel) * np.prod(operation.output(0).get_shape())
    return total


def build_model(bundle: Bundle) -> Any:
    """Build the OpenVINO model of a bundle: of ResNet-50, or of an imported graph."""
    import openvino as ov

    if bundle.form is not None:
        return ov.Core().read_model(bundle.graph)
    image = ov.opset13.parameter([-1, 1, -1, -1], np.float32, name="image")
    logits, features = resnet50_graph(bundle, image, _OpenvinoOperations(ov.opset13))
    return ov.Model([logits, features], [image], "resnet50")


class _OpenvinoOperations:
    """Operations of OpenVINO. Arrays are made into constants here: it would go through Python lists."""

    def __init__(self, opset: Any) -> None:
        self._ops = opset

    def convolution(
        self, x: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int, padding: int
    ) -> Any:
        strides, pads = [stride, stride], [padding, padding]
        y = self._ops.convolution(x, self._ops.constant(kernel), strides, pads, pads, [1, 1])
        return self._ops.add(y, self._ops.constant(bias.reshape(1, -1, 1, 1)))

    def relu(self, x: Any) -> Any:
        return self._ops.relu(x)

    def add(self, x: Any, y: Any) -> Any:
        return self._ops.add(x, y)

    def max_pool(self, x: Any) -> Any:
        return self._ops.max_pool(x, [2, 2], [1, 1], [1, 1], [1, 1], [3, 3]).output(0)

    def average(self, x: Any) -> Any:
        return self._ops.reduce_mean(x, np.array([2, 3]), keep_dims=False)

    def dense(self, x: Any, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> Any:
        product = self._ops.matmul(x, self._ops.constant(kernel), False, False)
        return self._ops.add(product, self._ops.constant(bias))
