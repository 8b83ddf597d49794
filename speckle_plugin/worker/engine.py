"""One network for two threads: that which classifies live, and that which completes stored runs."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.engines import Engine, NetworkOutput

__all__ = ["SharedEngine"]


class SharedEngine:
    """An engine that takes calls from any thread, one after the other.

    Parameters
    ----------
    engine : Engine
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self.name, self.precision, self.device = engine.name, engine.precision, engine.device

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Run the network on inputs of shape (N, rows, columns)."""
        with self._lock:
            return self._engine.run(inputs)
