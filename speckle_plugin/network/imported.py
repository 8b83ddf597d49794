"""Networks of others, as ONNX graphs in bundles: how frames go in, and what comes out.

A graph is data: it names operations, and running it runs no code of the file. Engines hand inputs of shape
(N, rows, columns) to :func:`run_graph`, which brings them into the form that the graph takes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.engine_output import NetworkOutput

__all__ = ["GraphForm", "run_graph"]

LEAST_PROBABILITY = 1e-30
"""Smaller ones are taken for this, where logits are made of probabilities."""


@dataclass(frozen=True)
class GraphForm:
    """The form of a graph's input and output.

    Parameters
    ----------
    layout : {"NHW", "NHWC", "NCHW"}
        Order of the input's dimensions: frames, rows, columns, channels.
    channels : int
        1, or 3: then all three are the frame.
    rows, columns : int or None
        Size of the input; None for any.
    batch : int or None
        Frames that it takes at once; None for any number.
    input, output : str
        Their names in the graph.
    gives : {"logits", "probabilities"}
    """

    layout: Literal["NHW", "NHWC", "NCHW"]
    channels: int
    rows: int | None
    columns: int | None
    batch: int | None
    input: str
    output: str
    gives: Literal["logits", "probabilities"]

    def misfit(self, rows: int, columns: int) -> str:
        """Tell why inputs of a size cannot be taken; empty if they can."""
        if self.rows in (None, rows) and self.columns in (None, columns):
            return ""
        return (
            f"the network takes inputs of {self.rows or 'any'} x {self.columns or 'any'} pixels, and its "
            f"preprocessing makes {rows} x {columns} of these frames"
        )


def run_graph(
    inputs: NDArray[np.float32], form: GraphForm, run: Callable[[NDArray[np.float32]], NDArray[np.float32]]
) -> NetworkOutput:
    """Run a graph on inputs of shape (N, rows, columns).

    Parameters
    ----------
    inputs : array
    form : GraphForm
    run : callable
        Runs the graph on an array in its form, and gives its output of shape (frames, classes).
    """
    images = np.ascontiguousarray(inputs, np.float32)
    if form.layout != "NHW":
        axis = 1 if form.layout == "NCHW" else 3
        images = np.repeat(np.expand_dims(images, axis), form.channels, axis)
    if form.batch is None:
        output = run(images)
    else:
        output = np.concatenate([_padded(run, part, form.batch) for part in _parts(images, form.batch)])
    if form.gives == "probabilities":
        output = np.log(np.maximum(output, LEAST_PROBABILITY))
    return NetworkOutput(output.astype(np.float32), np.zeros((len(inputs), 0), np.float32))


def _parts(images: NDArray[np.float32], size: int) -> list[NDArray[np.float32]]:
    return [images[start : start + size] for start in range(0, len(images), size)]


def _padded(
    run: Callable[[NDArray[np.float32]], NDArray[np.float32]], part: NDArray[np.float32], size: int
) -> NDArray[np.float32]:
    """Run a part of a batch, filled up by its last frame where the graph takes a fixed number."""
    missing = size - len(part)
    return run(np.concatenate([part, np.repeat(part[-1:], missing, axis=0)]))[: len(part)]
