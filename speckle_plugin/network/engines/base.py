"""The seam between the classifier and what computes the network."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.engine_output import NetworkOutput

__all__ = ["Engine", "NetworkOutput"]


class Engine(Protocol):
    """Runs one network. Calls come from one thread at a time."""

    name: str
    """Name of the engine, as it stands in the results: `tensorflow`, `openvino`, `onnxruntime`."""

    precision: str
    """Number format of the computation, such as `float32` or `bfloat16`."""

    device: str
    """Where it runs, such as `CPU` or the name of the GPU."""

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        ...
