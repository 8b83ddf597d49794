"""Values of options that are more than one word or number."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

__all__ = [
    "CenterOrder",
    "FamilyName",
    "GridName",
    "new_file",
    "parse_beam_center",
    "parse_classes",
    "parse_disk_numbers",
    "parse_numbers",
]

# The library's own lists, said again: importing them takes seconds, and the help must not. A test compares.
FamilyName = Literal["mono", "poly", "poly_published", "constant_radius"]
GridName = Literal["quadrant", "centered", "published"]

CenterOrder = Literal["row-column", "x-y"]
"""In which order the two numbers of a beam centre stand; x is the column, y the row."""


def parse_disk_numbers(text: str) -> tuple[int, ...]:
    """Read `2-20`, `2,5,9` or `2-5,9`, in rising order.

    Raises
    ------
    ValueError
        If it is none of these, or a number is below 1.
    """
    return parse_numbers(text, "disk numbers", least=1)


def parse_numbers(text: str, what: str, least: int = 0) -> tuple[int, ...]:
    """Read `2-20`, `2,5,9` or `2-5,9`, in rising order; `what` names them in errors.

    Raises
    ------
    ValueError
        If it is none of these, or a number is below the least.
    """
    numbers: set[int] = set()
    try:
        for part in text.split(","):
            first, _, last = part.partition("-")
            numbers |= set(range(int(first), int(last or first) + 1)) or _nothing(part)
    except ValueError:
        raise ValueError(
            f"the {what} {text!r} can't be read: give a range such as 2-20 or a list such as 2,5,9"
        ) from None
    if min(numbers) < least:
        raise ValueError(f"{what} must be at least {least}, not {min(numbers)}")
    return tuple(sorted(numbers))


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


def _nothing(part: str) -> set[int]:
    raise ValueError(f"the range {part} runs backwards")


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
