"""What a network gives for a batch of inputs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["NetworkOutput"]


class NetworkOutput(NamedTuple):
    """What the network gives for N inputs."""

    logits: NDArray[np.float32]
    """Shape (N, classes)."""

    features: NDArray[np.float32]
    """Pooled features before the last layer, shape (N, features); no features of an imported network."""
