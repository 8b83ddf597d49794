"""Values of options that are more than one word or number."""

from __future__ import annotations

import contextlib
import math
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

__all__ = [
    "LARGEST_SEED",
    "CenterOrder",
    "EngineName",
    "FamilyName",
    "GridName",
    "check_room",
    "new_file",
    "parse_beam_center",
    "parse_classes",
    "parse_disk_numbers",
    "parse_numbers",
]

# The library's own lists, said again: importing them takes seconds, and the help must not. A test compares.
FamilyName = Literal["mono", "poly", "poly_published", "constant_radius"]
GridName = Literal["quadrant", "centered", "published"]

EngineName = Literal["auto", "openvino", "tensorflow", "onnxruntime"]

LARGEST_SEED = 2**63 - 1
"""What a file can hold beside its frames."""

LARGEST_NUMBER = 10**9
MOST_NUMBERS = 10**7
MOST_DISKS = 1000
"""More would not find room in the box, whatever their radii."""

CenterOrder = Literal["row-column", "x-y"]
"""In which order the two numbers of a beam centre stand; x is the column, y the row."""


def parse_disk_numbers(text: str) -> tuple[int, ...]:
    """Read `2-20`, `2,5,9` or `2-5,9`, in rising order.

    Raises
    ------
    ValueError
        If it is none of these, or a number is below 1 or above 1000.
    """
    return parse_numbers(text, "disk numbers", least=1, largest=MOST_DISKS)


def parse_numbers(text: str, what: str, least: int = 0, largest: int = LARGEST_NUMBER) -> tuple[int, ...]:
    """Read `2-20`, `2,5,9` or `2-5,9`, in rising order; `what` names them in errors.

    Raises
    ------
    ValueError
        If it is none of these, they are too many, or a number is out of bounds.
    """
    spans: dict[str, range] = {}
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            spans[part] = range(int(first), int(last or first) + 1)
    except ValueError:
        spans = {}
    if not spans or not all(spans.values()):  # a range that runs backwards is empty
        raise ValueError(
            f"the {what} {text!r} can't be read: give a range such as 2-20 or a list such as 2,5,9"
        )
    for part, span in spans.items():
        if span[0] < least or span[-1] > largest:
            beyond = span[0] if span[0] < least else span[-1]
            raise ValueError(f"{what} must be from {least} to {largest}, not {beyond}")
        if len(span) > MOST_NUMBERS:
            raise ValueError(f"{what} {part!r} are {len(span)}: give at most {MOST_NUMBERS}")
    return tuple(sorted(set().union(*spans.values())))


def parse_classes(text: str) -> tuple[int, ...] | tuple[str, ...]:
    """Read the classes of a network's outputs, in their order: disk numbers (`2-20`, `5,3,9`) or names.

    Raises
    ------
    ValueError
        If the numbers can't be read, or are below 1.
    """
    parts = [part.strip() for part in text.split(",")]
    if not any(part[:1].isdigit() for part in parts):
        return tuple(parts)
    return tuple(number for part in parts for number in parse_disk_numbers(part))


def parse_beam_center(text: str, order: CenterOrder = "row-column") -> tuple[float, float]:
    """Read `ROW,COLUMN`, or `X,Y`, two finite numbers in pixels, and give (row, column).

    Raises
    ------
    ValueError
        If it is anything else.
    """
    with contextlib.suppress(ValueError):
        first, second = (float(part) for part in text.split(","))
        if math.isfinite(first) and math.isfinite(second):
            return (first, second) if order == "row-column" else (second, first)
    wanted = "ROW,COLUMN" if order == "row-column" else "X,Y"
    raise ValueError(f"the beam centre {text!r} can't be read: give {wanted} in pixels, such as 256,255.5")


def check_room(path: Path, size: int) -> None:
    """See that a file of this size, in bytes, finds room where it is to be made.

    Known before, since a disk that becomes full while HDF5 writes ends the process.

    Raises
    ------
    ValueError
        If it does not.
    """
    free = shutil.disk_usage(path.parent).free
    if size > free:
        raise ValueError(
            f"{path} would take {size / 1e9:.3g} GB, and there are {free / 1e9:.3g} GB free: "
            "ask for fewer or smaller frames, or write it elsewhere"
        )


@contextlib.contextmanager
def new_file(path: Path, suffixes: tuple[str, ...], force: bool) -> Iterator[Path]:
    """Give the path of a partial file, which becomes `path` when the block ends without an error.

    So a failure or Ctrl-C leaves neither half a file nor the loss of an old one.

    Parameters
    ----------
    path : Path
        The file to make.
    suffixes : tuple of str
        Those that are allowed.
    force : bool
        Replace a file that is there.

    Raises
    ------
    ValueError
        If the suffix is not allowed, the file is there, or its folder is not.
    """
    if path.suffix not in suffixes:
        raise ValueError(f"can't write {path}: its name must end with {' or '.join(suffixes)}")
    if path.is_dir() or (path.exists() and not force):
        raise ValueError(f"{path} is there already: give another name, or --force to replace a file")
    if not path.parent.is_dir():
        raise ValueError(f"can't write {path}: there is no folder {path.parent}; make it first")
    partial = path.with_name(f".{path.name}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
