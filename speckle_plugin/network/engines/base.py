"""The seam between the classifier and what computes the network."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = ["Engine", "NetworkOutput"]


class NetworkOutput(NamedTuple):
    """What the network gives for N inputs."""

    logits: NDArray[np.float32]
    """Shape (N, classes)."""

    features: NDArray[np.float32]
    """Pooled features before the last layer, shape (N, features)."""


class Engine(Protocol):
    """Runs one network. Calls come from one thread at a time."""

    name: str
    """Name of the engine, as it stands in the results: `tensorflow`, `openvino`."""

    precision: str
    """Number format of the computation, such as `float32` or `bfloat16`."""

    device: str
    """Where it runs, such as `CPU` or the name of the GPU."""

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        ...
