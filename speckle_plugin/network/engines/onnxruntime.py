"""The network on onnxruntime: of an imported bundle as it is, of others by their ONNX export."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.extras import extra_needed
from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import NetworkOutput
from speckle_plugin.network.imported import run_graph
from speckle_plugin.network.onnx_export import onnx_bytes

__all__ = ["OnnxruntimeEngine"]


class OnnxruntimeEngine:
    """Runs a bundle's network by onnxruntime on the CPU, in float32.

    Parameters
    ----------
    bundle : Bundle
    """

    name, precision, device = "onnxruntime", "float32", "CPU"

    def __init__(self, bundle: Bundle) -> None:
        with extra_needed():
            import onnxruntime

        self._form = bundle.form
        graph = bundle.graph if self._form is not None else onnx_bytes(bundle)
        self._session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        form = self._form
        if form is not None:
            return run_graph(
                inputs, form, lambda images: self._session.run([form.output], {form.input: images})[0]
            )
        images = np.ascontiguousarray(inputs[:, None], np.float32)
        logits, features = self._session.run(["logits", "features"], {"image": images})
        return NetworkOutput(logits, features)
