"""The result streams of a stored run. Writing results is in `run_writer`."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from speckle_plugin.schema import CLASSIFICATION_STREAM, CLASSIFIER, result_keys
from speckle_plugin.store.read.events import read_columns

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = [
    "StoredResult",
    "StoredResults",
    "free_stream",
    "read_array_row",
    "read_configuration",
    "read_model",
    "read_results",
    "read_rows",
]


@dataclass(frozen=True)
class StoredResult:
    """A row of a stream that was computed from frames, with its array, and when it was made."""

    data: dict[str, Any]
    time: float


@dataclass(frozen=True)
class StoredResults:
    """A result stream.

    Parameters
    ----------
    model : mapping
        The classifier's configuration; empty without a stream.
    rows : mapping of (image key, frame index) to StoredResult
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[tuple[str, int], StoredResult] = field(default_factory=dict)


def read_configuration(run: BlueskyRun, stream: str, computer: str) -> Mapping[str, Any]:
    """Read the configuration of what computed a stream; empty without such a stream."""
    try:
        descriptor = run.base[stream].metadata
    except KeyError:
        return {}
    return descriptor.get("configuration", {}).get(computer, {}).get("data", {})


def read_model(run: BlueskyRun, stream: str) -> Mapping[str, Any]:
    """Read the classifier's configuration in a result stream; empty without such a stream."""
    return read_configuration(run, stream, CLASSIFIER)


def read_results(run: BlueskyRun, stream: str) -> StoredResults:
    """Read a result stream whole; without such a stream there are no rows."""
    return StoredResults(read_model(run, stream), read_rows(run, stream, result_keys(1), "probabilities"))


def read_rows(
    run: BlueskyRun, stream: str, data_keys: Mapping[str, Mapping[str, Any]], array: str
) -> dict[tuple[str, int], StoredResult]:
    """Read the rows of a stream that was computed from frames; none without such a stream.

    Parameters
    ----------
    run : BlueskyRun
    stream : str
    data_keys : mapping
        Those of its rows.
    array : str
        The one of them that is an array.

    Returns
    -------
    dict of (image key, frame index) to StoredResult
    """
    kinds = {key: spec["dtype"] for key, spec in data_keys.items()}
    table = read_columns(run, stream, ["seq_num", "time", *kinds])
    if table is None:
        return {}
    try:
        stored = np.asarray(run.base[f"{stream}/{array}"].read())
    except KeyError:  # up to 16 numbers are in the table, which gives them as text
        arrays = [_numbers(text) for text in table[array]]
    else:
        # By number, since a row whose writing was tried twice may be in the table twice.
        arrays = stored[table["seq_num"].to_numpy() - 1].astype(float).tolist()
    rows: dict[tuple[str, int], StoredResult] = {}
    for row, values in zip(table.to_dict("records"), arrays, strict=True):
        # In the order in which they are written: Tiled's tables take rows of one order only.
        data: dict[str, Any] = {
            key: values if key == array else _plain(kind, row[key]) for key, kind in kinds.items()
        }
        rows[data["image_key"], data["frame_index"]] = StoredResult(data, float(row["time"]))
    return rows


def read_array_row(run: BlueskyRun, stream: str, array: str, row: Mapping[str, Any]) -> list[Any]:
    """Read the array of one row of such a stream.

    Parameters
    ----------
    run : BlueskyRun
    stream, array : str
    row : mapping
        The row's `seq_num`, and what its table has under the array's name.
    """
    try:
        stored = run.base[f"{stream}/{array}"]
    except KeyError:
        return _numbers(row[array])
    values: list[Any] = np.asarray(stored[int(row["seq_num"]) - 1]).astype(float).tolist()
    return values


_PLAIN = {"integer": int, "number": float, "string": str}


def _plain(kind: str, value: Any) -> Any:
    # A text that an older version did not store is read as not a number.
    return "" if kind == "string" and value != value else _PLAIN[kind](value)


def _numbers(text: Any) -> list[float]:
    """Read `[0.1 0.9]`."""
    return [float(part) for part in str(text).strip("[]").replace(",", " ").split()]


def free_stream(run: BlueskyRun, name: str = CLASSIFICATION_STREAM) -> str:
    """Give the first of the names `name`, `name_2`, ... that no stream of the run has.

    One that was begun and not finished keeps its name: no summary names it.
    """
    taken = set(run.base)
    numbered = (f"{name}_{number}" for number in itertools.count(2))
    return next(free for free in itertools.chain([name], numbered) if free not in taken)
