"""Saliency of stored frames, computed in a process of its own that gives way to all others.

It needs TensorFlow, which takes seconds to load and a gigabyte of memory: neither the page nor a scan on the
same machine may wait for it. The process ends when nobody has asked for a while.
"""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.extras import extra_needed
from speckle_plugin.preprocessing import FrameGeometry

__all__ = ["Asked", "Explainer", "Saliency", "explain_asked"]

IDLE = 300.0
"""Seconds without a question after which the process ends."""


@dataclass(frozen=True, eq=False)
class Asked:
    """A frame to explain.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    geometry : FrameGeometry
    k_step : float or None
    center_assumed : bool
    model : str
        Name of the network that labelled it.
    weights_sha256 : str
        Of that network.
    bundles : tuple of str
        Names or paths of the bundles that it may be.
    """

    frame: NDArray[Any]
    geometry: FrameGeometry
    k_step: float | None
    center_assumed: bool
    model: str
    weights_sha256: str
    bundles: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Saliency:
    """Which pixels count: the absolute saliency, smoothed, of the frame's shape, for one disk number."""

    strength: NDArray[np.float32]
    disk_number: int
    probability: float


def explain_asked(asked: Asked) -> Saliency:
    """Explain a frame in this process.

    Raises
    ------
    ValueError
        If none of the bundles is the network, or the frame has no label.
    MissingExtraError
        If TensorFlow is not installed.
    """
    with extra_needed():
        from speckle_plugin.explain.picture import strength_of
        from speckle_plugin.explain.saliency import explain
        from speckle_plugin.network import find_bundle

        found = (find_bundle(name) for name in asked.bundles)
        bundle = next((one for one in found if one.sha256 == asked.weights_sha256), None)
        if bundle is None:
            raise ValueError(
                f"the network {asked.model!r} ({asked.weights_sha256[:12]}) that labelled this frame is not "
                "here: start the monitor with the setting model = the path of its bundle"
            )
        made = explain(
            bundle, asked.frame, asked.geometry, k_step=asked.k_step, center_assumed=asked.center_assumed
        )
    return Saliency(strength_of(made.saliency), made.disk_number, made.probability)


class Explainer:
    """Hands frames to the process, one after the other."""

    def __init__(self) -> None:
        self._pool: ProcessPoolExecutor | None = None
        self._asked = -float("inf")
        self._waiting = 0
        self._lock = threading.Lock()

    def explain(self, asked: Asked) -> Future[Saliency]:
        """Have a frame explained; the first answer takes ten seconds and more."""
        with self._lock:
            self._asked = time.monotonic()
            try:
                future = self._started().submit(explain_asked, asked)
            except BrokenProcessPool:  # it was killed, for its memory perhaps
                self._pool = None
                future = self._started().submit(explain_asked, asked)
            self._waiting += 1
        future.add_done_callback(self._done)
        return future

    def _started(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(1, context, initializer=os.nice, initargs=(19,))
        return self._pool

    def _done(self, future: Future[Saliency]) -> None:
        with self._lock:
            self._waiting -= 1

    def end_if_idle(self) -> None:
        """End the process if nobody has asked for a while."""
        with self._lock:
            if self._pool is not None and not self._waiting and time.monotonic() - self._asked > IDLE:
                self._pool.shutdown(wait=False)
                self._pool = None

    def close(self) -> None:
        """End the process."""
        with self._lock:
            if self._pool is not None:
                self._pool.shutdown(wait=False, cancel_futures=True)
                self._pool = None
