"""An engine in the place of the network, behind the plugin's Engine protocol."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.engines import NetworkOutput

__all__ = ["CLASSES", "FakeEngine"]

CLASSES = tuple(range(2, 21))
"""Disk numbers that fake networks know."""


class FakeEngine:
    """Gives every frame one label: at once, later, never, or not without an error, as a test wants.

    Parameters
    ----------
    label : int
        The disk number of every frame.
    fails_after : float
        Frames after which the memory is too small.
    logit : float
        Of that disk number; the others have 0.
    classes : sequence of int
        Disk numbers that it knows.

    Attributes
    ----------
    delay : float
        Seconds that each batch takes.
    error : Exception or None
        What each batch raises.
    may_answer : threading.Event
        While it is clear, nothing is answered.
    batches : list of int
        Size of each batch so far.
    """

    name, precision, device = "fake", "float32", "CPU"

    def __init__(
        self,
        label: int = 7,
        fails_after: float = math.inf,
        logit: float = 5.0,
        classes: Sequence[int] = CLASSES,
    ) -> None:
        self.label, self.fails_after, self.logit, self.classes = label, fails_after, logit, tuple(classes)
        self.delay = 0.0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.batches: list[int] = []

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Answer for a batch."""
        self.batches.append(len(inputs))
        self.may_answer.wait(30)
        time.sleep(self.delay)
        if self.error is not None:
            raise self.error
        if sum(self.batches) > self.fails_after:
            raise MemoryError("no memory for the network")
        logits = np.zeros((len(inputs), len(self.classes)), np.float32)
        logits[:, self.classes.index(self.label)] = self.logit
        return NetworkOutput(logits, np.zeros((len(inputs), 4), np.float32))
