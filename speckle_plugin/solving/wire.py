"""Tasks and answers of solving processes as bytes: a line of JSON, and arrays in numpy's format.

Nothing that is read can run code, as pickled objects can.
"""

from __future__ import annotations

import io
import json
from dataclasses import fields
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.solving.task import Answer, SolveTask
from speckle_plugin.structure import SolveSettings, Structure

__all__ = ["pack_answer", "pack_task", "read_answer", "read_task"]


def pack_task(task: SolveTask) -> bytes:
    """Give the bytes of a task.

    Raises
    ------
    TypeError, ValueError
        If its frame or settings are not of plain numbers.
    """
    arrays = {"frame": _packed(task.frame)}
    if task.geometry.mask is not None:
        arrays["mask"] = _packed(task.geometry.mask)
    header = {
        "shape": task.geometry.shape,
        "beam_center": task.geometry.beam_center,
        "k_step": task.k_step,
        "settings": task.settings.to_dict(),
        "bytes": {name: len(packed) for name, packed in arrays.items()},
    }
    return b"".join((_line(header), *arrays.values()))


def read_task(stream: IO[bytes]) -> SolveTask:
    """Read a task; what it raises is as for :func:`read_answer`."""
    header = _read_line(stream)
    arrays = {name: _unpacked(_read_exactly(stream, size)) for name, size in header["bytes"].items()}
    geometry = FrameGeometry(tuple(header["shape"]), tuple(header["beam_center"]), arrays.get("mask"))
    return SolveTask(arrays["frame"], geometry, header["k_step"], SolveSettings.from_dict(header["settings"]))


def pack_answer(answer: Answer) -> bytes:
    """Give the bytes of an answer."""
    structure = answer.structure
    # Not by `to_dict`, which has no infinite numbers: both ends are Python, which writes and reads them.
    values = structure and {field.name: getattr(structure, field.name) for field in fields(structure)}
    return _line({"structure": values, "error": answer.error})


def read_answer(stream: IO[bytes]) -> Answer:
    """Read an answer.

    Raises
    ------
    EOFError
        If the stream ends before.
    ValueError
        If it holds something else.
    """
    told = _read_line(stream)
    values = told["structure"]
    return Answer(None if values is None else Structure.from_dict(values), told["error"])


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values, default=_plain).encode() + b"\n"


def _plain(value: Any) -> Any:
    """Give arrays and numpy's numbers as those of Python, which are as exact."""
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} can't be written as JSON")


def _read_line(stream: IO[bytes]) -> dict[str, Any]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the stream ended")
    values: dict[str, Any] = json.loads(line)
    return values


def _packed(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(packed), allow_pickle=False)
    return array


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError("the stream ended")
    return found
