"""Updates and answers of the drawing process as bytes."""

from __future__ import annotations

from dataclasses import asdict
from typing import IO, Any

from speckle_plugin.display.answers import Image, Trouble
from speckle_plugin.display.course import Axis, Course
from speckle_plugin.display.view import Picture, Point, Progress, ScanHead, Update
from speckle_plugin.wire import pack_line, pack_message, read_exactly, read_line, read_message

__all__ = ["pack_answer", "pack_update", "read_answer", "read_update"]

ARRAYS = ("pixels", "probabilities")
"""Fields of a picture that are arrays."""


def pack_update(update: Update) -> bytes:
    """Give the bytes of an update."""
    head, picture = update.head, update.picture
    arrays = {} if picture is None else {name: getattr(picture, name) for name in ARRAYS}
    told = None
    if picture is not None:
        told = {name: value for name, value in vars(picture).items() if name not in ARRAYS}
    header = {
        "head": None if head is None else asdict(head),
        "points": list(update.points),
        "picture": told,
        "progress": asdict(update.progress),
    }
    return pack_message(header, arrays)


def read_update(stream: IO[bytes]) -> Update:
    """Read an update.

    Raises
    ------
    EOFError
        If the stream ends before.
    ValueError
        If it holds something else.
    """
    header, arrays = read_message(stream)
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
        return pack_line({"bytes": len(answer.png)}) + answer.png
    return pack_line({"trouble": answer.message})


def read_answer(stream: IO[bytes]) -> Image | Trouble:
    """Read an answer; what it raises is as for :func:`read_update`."""
    header = read_line(stream)
    if "trouble" in header:
        return Trouble(str(header["trouble"]))
    return Image(read_exactly(stream, int(header["bytes"])))
