"""Updates and answers of the drawing process as bytes: a line of JSON, and arrays in numpy's format.

Nothing that is read can run code, as pickled objects can.
"""

from __future__ import annotations

import io
import json
from dataclasses import asdict
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.display.answers import Image, Trouble
from speckle_plugin.display.course import Axis, Course
from speckle_plugin.display.view import Picture, Point, Progress, ScanHead, Update

__all__ = ["pack_answer", "pack_update", "read_answer", "read_update"]

ARRAYS = ("pixels", "probabilities")
"""Fields of a picture that are arrays."""


def pack_update(update: Update) -> bytes:
    """Give the bytes of an update."""
    head, picture = update.head, update.picture
    arrays = {} if picture is None else {name: _packed(getattr(picture, name)) for name in ARRAYS}
    told = None
    if picture is not None:
        told = {name: value for name, value in vars(picture).items() if name not in ARRAYS}
    header = {
        "head": None if head is None else asdict(head),
        "points": list(update.points),
        "picture": told,
        "progress": asdict(update.progress),
        "bytes": {name: len(packed) for name, packed in arrays.items()},
    }
    return b"".join((_line(header), *arrays.values()))


def read_update(stream: IO[bytes]) -> Update:
    """Read an update.

    Raises
    ------
    EOFError
        If the stream ends before.
    ValueError
        If it holds something else.
    """
    header = _read_line(stream)
    arrays = {name: _unpacked(_read_exactly(stream, size)) for name, size in header["bytes"].items()}
    picture = header["picture"]
    if picture is not None:
        center = picture.pop("center")
        told: dict[str, Any] = {**picture, **arrays}
        picture = Picture(center=None if center is None else (center[0], center[1]), **told)
    return Update(
        None if header["head"] is None else _head(header["head"]),
        [Point(*point) for point in header["points"]],
        picture,
        Progress(**header["progress"]),
    )


def _head(told: dict[str, Any]) -> ScanHead:
    course = told.pop("course")
    axes = [None if axis is None else Axis(**axis) for axis in (course["x"], course["y"])]
    if axes[0] is None:
        raise ValueError("a course needs an axis")
    return ScanHead(
        course=Course(course["kind"], axes[0], axes[1]), classes=tuple(told.pop("classes")), **told
    )


def pack_answer(answer: Image | Trouble) -> bytes:
    """Give the bytes of an answer."""
    if isinstance(answer, Image):
        return _line({"bytes": len(answer.png)}) + answer.png
    return _line({"trouble": answer.message})


def read_answer(stream: IO[bytes]) -> Image | Trouble:
    """Read an answer; what it raises is as for :func:`read_update`."""
    header = _read_line(stream)
    if "trouble" in header:
        return Trouble(str(header["trouble"]))
    return Image(_read_exactly(stream, int(header["bytes"])))


def _line(values: dict[str, Any]) -> bytes:
    return json.dumps(values).encode() + b"\n"


def _read_line(stream: IO[bytes]) -> dict[str, Any]:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the stream ended")
    values: dict[str, Any] = json.loads(line)
    return values


def _packed(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(packed), allow_pickle=False)
    return array


def _read_exactly(stream: IO[bytes], size: int) -> bytes:
    found = stream.read(size)
    if len(found) < size:
        raise EOFError("the stream ended")
    return found
