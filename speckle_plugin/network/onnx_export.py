"""A bundle's network as an ONNX file, for programs that know nothing of this package.

Input `image`: (N, 1, rows, columns), float32, as :func:`speckle_plugin.preprocessing.prepare` makes each view
of a frame. Outputs: `probabilities` of a single view, calibrated; `logits`; `features`. Classes, k step,
preprocessing and the bundle's hash stand in the file's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.extras import extra_needed
from speckle_plugin.network.bundle import Bundle
from speckle_plugin.network.resnet_graph import resnet50_graph

if TYPE_CHECKING:
    import onnx

__all__ = ["OPSET", "onnx_bytes"]

OPSET = 17
"""Version of ONNX's operations: what programs of the last years read."""

IR_VERSION = 9


def onnx_bytes(bundle: Bundle) -> bytes:
    """Give the ONNX file of a bundle; that of an imported one is the graph that was imported.

    Raises
    ------
    MissingExtraError
        If the package `onnx` is not installed.
    """
    if bundle.form is not None:
        return bundle.graph
    with extra_needed():
        import onnx
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = _OnnxOperations()
    logits, features = resnet50_graph(bundle, "image", graph)
    graph.rename({logits: "logits", features: "features"})
    temperature = graph.constant(np.array(bundle.temperature, np.float32))
    scaled = graph.node("Div", ["logits", temperature])
    graph.node("Softmax", [scaled], output="probabilities", axis=-1)
    count, width = len(bundle.classes), bundle.weights["logits/kernel"].shape[0]
    made = helper.make_graph(
        graph.nodes,
        bundle.name,
        [helper.make_tensor_value_info("image", kind, ["N", 1, "rows", "columns"])],
        [
            helper.make_tensor_value_info("probabilities", kind, ["N", count]),
            helper.make_tensor_value_info("logits", kind, ["N", count]),
            helper.make_tensor_value_info("features", kind, ["N", width]),
        ],
        graph.constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
    told = {
        "name": bundle.name,
        "version": bundle.version,
        "sha256": bundle.sha256,
        "classes": json.dumps(bundle.class_names or bundle.classes),
        "k_step": json.dumps(bundle.pitch),
        "temperature": json.dumps(bundle.temperature),
        "preprocessing": json.dumps(asdict(bundle.preprocessing)),
    }
    helper.set_model_props(model, told)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


class _OnnxOperations:
    """Operations of ONNX; a node is the name of its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, values: NDArray[np.float32]) -> str:
        import onnx

        name = f"c{len(self.constants)}"
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(values, np.float32), name))
        return name

    def node(self, kind: str, inputs: Sequence[str], output: str = "", **attributes: Any) -> str:
        import onnx

        output = output or f"x{len(self.nodes)}"
        self.nodes.append(onnx.helper.make_node(kind, inputs, [output], **attributes))
        return output

    def rename(self, names: dict[str, str]) -> None:
        """Give outputs of nodes other names."""
        for node in self.nodes:
            for places in (node.input, node.output):
                for i, name in enumerate(places):
                    places[i] = names.get(name, name)

    def convolution(
        self, x: str, kernel: NDArray[np.float32], bias: NDArray[np.float32], stride: int, padding: int
    ) -> str:
        inputs = [x, self.constant(kernel), self.constant(bias)]
        return self.node("Conv", inputs, strides=[stride] * 2, pads=[padding] * 4)

    def relu(self, x: str) -> str:
        return self.node("Relu", [x])

    def add(self, x: str, y: str) -> str:
        return self.node("Add", [x, y])

    def max_pool(self, x: str) -> str:
        return self.node("MaxPool", [x], kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)

    def average(self, x: str) -> str:
        return self.node("ReduceMean", [x], axes=[2, 3], keepdims=0)

    def dense(self, x: str, kernel: NDArray[np.float32], bias: NDArray[np.float32]) -> str:
        return self.node("Gemm", [x, self.constant(kernel), self.constant(bias)])
