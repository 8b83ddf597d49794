"""What is stored of the frames of a finished run: where they are, and which results they have.

Use it to find out what is left to be classified. Writing results is in `run_writer`.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import holds_images
from speckle_plugin.documents.shapes import count_frames
from speckle_plugin.schema import CLASSIFICATION_STREAM, CLASSIFIER, image_key_of, result_keys
from speckle_plugin.store.read.rows import read_columns

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["StoredImages", "StoredResult", "StoredResults", "free_stream", "read_results", "stored_images"]


@dataclass(frozen=True, eq=False)
class StoredImages:
    """The frames under one image key of a run, in the order of their index.

    Parameters
    ----------
    stream, data_key : str
    descriptor : mapping
        Of their stream, for :func:`speckle_plugin.documents.descriptors.describe_detector`.
    seq_num : array, shape (N,), int64
        Sequence number of each frame's event.
    time : array, shape (N,), float64
        When the event was recorded, in seconds since the epoch; 0 where that is not known.
    """

    stream: str
    data_key: str
    descriptor: Mapping[str, Any]
    seq_num: NDArray[np.int64]
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.seq_num)

    @property
    def image_key(self) -> str:
        """Their name in results."""
        return image_key_of(self.stream, self.data_key)


@dataclass(frozen=True)
class StoredResult:
    """A row of a result stream, with its `probabilities`, and when it was made."""

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


def stored_images(run: BlueskyRun) -> list[StoredImages]:
    """Give all frames of a run, of whichever stream.

    They are counted by the shapes of the stored arrays, so that frames without any result count too.
    """
    found = []
    for stream in run.base:
        descriptor = run.base[stream].metadata
        for key, data_key in descriptor.get("data_keys", {}).items():
            if holds_images(data_key):
                found.append(_images(run, stream, key, descriptor))
    return found


def _images(run: BlueskyRun, stream: str, key: str, descriptor: Mapping[str, Any]) -> StoredImages:
    try:
        stored = run.base[f"{stream}/{key}"].shape
    except KeyError:  # described, but never read
        stored = (0, 1, 1)
    count = int(np.prod(stored[:-2]))
    # An event may hold more frames than its shape says, by `multiplier`; it is the array that counts,
    # but for arrays that are joined along the frames of an event.
    joined = len(stored) == 3
    per_event = count_frames(descriptor["data_keys"][key]["shape"]) if joined else np.prod(stored[1:-2])
    event = np.arange(count) // max(int(per_event), 1)
    seq_num, time = event + 1, np.zeros(count)
    table = read_columns(run, stream, ["seq_num", "time"])
    if table is not None:
        known = event < len(table)
        seq_num[known] = table["seq_num"].to_numpy()[event[known]]
        time[known] = table["time"].to_numpy()[event[known]]
    return StoredImages(stream, key, descriptor, seq_num, time)


def read_results(run: BlueskyRun, stream: str) -> StoredResults:
    """Read a result stream whole; without such a stream there are no rows."""
    try:
        descriptor = run.base[stream].metadata
    except KeyError:
        return StoredResults()
    model = descriptor.get("configuration", {}).get(CLASSIFIER, {}).get("data", {})
    kinds = {key: spec["dtype"] for key, spec in result_keys(1).items()}
    table = read_columns(run, stream, ["seq_num", "time", *kinds])
    if table is None:
        return StoredResults(model)
    try:
        stored = np.asarray(run.base[f"{stream}/probabilities"].read())
    except KeyError:  # up to 16 of them are in the table, which gives them as text
        probabilities = [_numbers(text) for text in table["probabilities"]]
    else:
        # By number, since a row whose writing was tried twice may be in the table twice.
        probabilities = stored[table["seq_num"].to_numpy() - 1].astype(float).tolist()
    rows = {}
    for row, values in zip(table.to_dict("records"), probabilities, strict=True):
        data = {key: _PLAIN[kind](row[key]) for key, kind in kinds.items() if kind in _PLAIN}
        data["probabilities"] = values
        rows[data["image_key"], data["frame_index"]] = StoredResult(data, float(row["time"]))
    return StoredResults(model, rows)


_PLAIN = {"integer": int, "number": float, "string": str}


def _numbers(text: Any) -> list[float]:
    """Read `[0.1 0.9]`."""
    return [float(part) for part in str(text).strip("[]").replace(",", " ").split()]


def free_stream(run: BlueskyRun) -> str:
    """Give the first name for a result stream that no stream of the run has.

    One that was begun and not finished keeps its name: no summary names it, so nobody reads it.
    """
    taken = set(run.base)
    numbered = (f"{CLASSIFICATION_STREAM}_{number}" for number in itertools.count(2))
    return next(name for name in itertools.chain([CLASSIFICATION_STREAM], numbered) if name not in taken)
