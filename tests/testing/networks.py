"""Small ONNX networks, whose answers are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["write_network"]


def write_network(
    path: Path,
    shape: tuple[int | str, ...] = ("N", 32, 32, 1),
    classes: int = 3,
    weight: float = 1.0,
    softmax: bool = True,
) -> Path:
    """Write a network that tells classes by the mean of the input: below 2, from 2 to 6, above."""
    mean_axes = list(range(1, len(shape)))
    slopes = np.array([[0.0, 1.0, 2.0] + [-9.0] * (classes - 3)], np.float32)[:, :classes] * np.float32(
        weight
    )
    offsets = np.array([0.0, -2.0, -8.0] + [-99.0] * (classes - 3), np.float32)[:classes]
    nodes = [
        helper.make_node("ReduceMean", ["frames"], ["mean"], axes=mean_axes, keepdims=0),
        helper.make_node("Unsqueeze", ["mean", "axis"], ["column"]),
        helper.make_node("Gemm", ["column", "slopes", "offsets"], ["logits"]),
    ]
    if softmax:
        nodes.append(helper.make_node("Softmax", ["logits"], ["probabilities"]))
    graph = helper.make_graph(
        nodes,
        "brightness",
        [helper.make_tensor_value_info("frames", TensorProto.FLOAT, list(shape))],
        [
            helper.make_tensor_value_info(
                "probabilities" if softmax else "logits", TensorProto.FLOAT, [shape[0], classes]
            )
        ],
        [
            numpy_helper.from_array(np.array([1], np.int64), "axis"),
            numpy_helper.from_array(slopes.astype(np.float32), "slopes"),
            numpy_helper.from_array(offsets, "offsets"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=9), path)
    return path
