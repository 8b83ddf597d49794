"""What `speckle solve` makes: a table, a CSV of the frames, a file of the disks, a picture of each frame."""

from __future__ import annotations

import contextlib
import csv
import json
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speckle_plugin.cli.console import print_table, stdout, table
from speckle_plugin.cli.options import new_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speckle_plugin.preprocessing import FrameGeometry
    from speckle_plugin.structure import Structure

__all__ = ["CSV_COLUMNS", "StructureFiles", "print_structures", "structure_files"]

CSV_COLUMNS = ("frame_index", "disk_number", "certificate", "residual", "seconds")

DISK_SUFFIXES = (".h5", ".hdf5", ".json")

SHOWN = 40
"""Of more frames than this, the table shows the counts only."""

RESOLUTION = 110
"""Points per inch of a picture."""


class StructureFiles:
    """The files that were asked for; rows are added as they come."""

    def __init__(self, pictures: Path | None, columns: Sequence[str]) -> None:
        self.rows: list[dict[str, Any]] = []
        self._pictures, self._columns = pictures, columns
        self._writer: Any = None

    def write_csv(self, file: Any) -> None:
        """Write the rows to come into a file as well."""
        self._writer = csv.writer(file)
        self._writer.writerow(self._columns)

    def add(self, row: dict[str, Any]) -> None:
        """Add the row of a frame, by `speckle_plugin.schema.structure_keys`."""
        self.rows.append(row)
        if self._writer is not None:
            values = (row[name] for name in self._columns)
            self._writer.writerow([f"{v:.6g}" if isinstance(v, float) else v for v in values])

    @property
    def draws(self) -> bool:
        """Whether pictures are wanted."""
        return self._pictures is not None

    def draw(
        self,
        name: str,
        structure: Structure,
        frame: NDArray[Any],
        geometry: FrameGeometry,
        truth: NDArray[Any] | None = None,
    ) -> None:
        """Draw a frame, if pictures are wanted."""
        if self._pictures is None:
            return
        from speckle_plugin.explain.structure_picture import structure_picture

        figure = structure_picture(structure, frame, geometry, name, truth=truth)
        figure.savefig(self._pictures / f"{name.replace(' ', '-').replace(',', '')}.png", dpi=RESOLUTION)


@contextlib.contextmanager
def structure_files(
    out: Path | None,
    disks: Path | None,
    pictures: Path | None,
    force: bool,
    columns: Sequence[str] = CSV_COLUMNS,
) -> Iterator[StructureFiles]:
    """Open the files that are asked for; they stand complete when the block ends.

    Raises
    ------
    ValueError
        If a name has the wrong suffix, or a file is there already.
    """
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
    made = StructureFiles(pictures, columns)
    with contextlib.ExitStack() as stack:
        if out is not None:
            partial = stack.enter_context(new_file(out, (".csv",), force))
            made.write_csv(stack.enter_context(partial.open("w", newline="")))
        partial_disks = None if disks is None else stack.enter_context(new_file(disks, DISK_SUFFIXES, force))
        yield made
        if disks is not None and partial_disks is not None:
            (_write_json if disks.suffix == ".json" else _write_hdf5)(partial_disks, made.rows)


def _write_hdf5(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    import h5py
    import numpy as np

    from speckle_plugin.solving.rows import COLUMNS

    with h5py.File(path, "w") as file:
        file.attrs["about"] = (
            "disks of each frame: frames x disks x (" + ", ".join(COLUMNS) + "); the first disk_number hold"
        )
        for name in rows[0] if rows else ():
            values = [row[name] for row in rows]
            if isinstance(values[0], str):
                file.create_dataset(name, data=values, dtype=h5py.string_dtype())
            else:
                file[name] = np.array(values)
        if rows:
            file["disks"].attrs["columns"] = list(COLUMNS)


def _write_json(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    from speckle_plugin.solving.rows import COLUMNS

    def plain(row: Mapping[str, Any]) -> dict[str, Any]:
        told = [dict(zip(COLUMNS, map(_or_none, disk), strict=True)) for disk in row["disks"]]
        return {
            **{name: _or_none(value) for name, value in row.items()},
            "disks": told[: row["disk_number"]],
        }

    path.write_text(json.dumps([plain(row) for row in rows], indent=1) + "\n")


def _or_none(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_structures(
    rows: Sequence[Mapping[str, Any]], truth: NDArray[Any] | None = None, names: Sequence[str] = ()
) -> None:
    """Write the structures of frames to stdout as a table, and how many got which certificate.

    Parameters
    ----------
    rows : sequence of mapping
    truth : array of int, optional
        The disk number of each row, where it is known.
    names : sequence of str
        Keys of the rows that stand first.
    """
    from speckle_plugin.schema import Opinion

    if len(rows) <= SHOWN:
        columns = (*names, "frame", "disks", *(() if truth is None else ("truth",)))
        numbers = ("frame", "disks", "truth", "mean radius", "residual", "seconds")
        shown = table(*columns, "certificate", "mean radius", "residual", "seconds", "reason", right=numbers)
        for i, row in enumerate(rows):
            shown.add_row(
                *(str(row[name]) for name in names),
                str(row["frame_index"]),
                str(row["disk_number"] or "-"),
                *(() if truth is None else (str(truth[i]),)),
                row["certificate"],
                *(_number(row[name], form) for name, form in (("mean_radius", ".4g"), ("residual", ".1e"))),
                f"{row['seconds']:.2f}",
                row["reason"],
            )
        print_table(shown)
    counts = Counter(row["certificate"] for row in rows)
    told = ", ".join(f"{counts[str(o)]} {str(o).replace('_', ' ')}" for o in Opinion if counts[str(o)])
    stdout().print(f"{len(rows)} frames: {told or 'none'}")
    if truth is not None and counts[Opinion.SOLVED]:
        right = sum(
            row["certificate"] == Opinion.SOLVED and row["disk_number"] == n
            for row, n in zip(rows, truth, strict=True)
        )
        stdout().print(f"of {counts[Opinion.SOLVED]} certified disk numbers {right} are right")


def _number(value: float, form: str) -> str:
    return f"{value:{form}}" if math.isfinite(value) else "-"
