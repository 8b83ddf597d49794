"""Tasks and answers of solving processes as bytes."""

from __future__ import annotations

from dataclasses import fields
from typing import IO, Any

import numpy as np

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.solving.task import Answer, SolveTask
from speckle_plugin.structure import SolveSettings, Structure
from speckle_plugin.wire import pack_line, pack_message, read_line, read_message

__all__ = ["pack_answer", "pack_task", "read_answer", "read_task"]


def pack_task(task: SolveTask) -> bytes:
    """Give the bytes of a task.

    Raises
    ------
    TypeError, ValueError
        If its frame or settings are not of plain numbers.
    """
    arrays = {"frame": task.frame}
    if task.geometry.mask is not None:
        arrays["mask"] = task.geometry.mask
    header = {
        "shape": task.geometry.shape,
        "beam_center": task.geometry.beam_center,
        "k_step": task.k_step,
        "settings": task.settings.to_dict(),
    }
    return pack_message(header, arrays, _plain)


def read_task(stream: IO[bytes]) -> SolveTask:
    """Read a task; what it raises is as for :func:`read_answer`."""
    header, arrays = read_message(stream)
    geometry = FrameGeometry(tuple(header["shape"]), tuple(header["beam_center"]), arrays.get("mask"))
    return SolveTask(arrays["frame"], geometry, header["k_step"], SolveSettings.from_dict(header["settings"]))


def pack_answer(answer: Answer) -> bytes:
    """Give the bytes of an answer."""
    structure = answer.structure
    # Not by `to_dict`, which has no infinite numbers: both ends are Python, which writes and reads them.
    values = structure and {field.name: getattr(structure, field.name) for field in fields(structure)}
    return pack_line({"structure": values, "error": answer.error}, _plain)


def read_answer(stream: IO[bytes]) -> Answer:
    """Read an answer.

    Raises
    ------
    EOFError
        If the stream ends before.
    ValueError
        If it holds something else.
    """
    told = read_line(stream)
    values = told["structure"]
    return Answer(None if values is None else Structure.from_dict(values), told["error"])


def _plain(value: Any) -> Any:
    """Give arrays and numpy's numbers as those of Python, which are as exact."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} can't be written as JSON")
