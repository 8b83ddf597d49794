"""The events of one stream of a stored run: a row each, with what was recorded beside the frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.schema import STREAMED_TRUTH_SUFFIX, TRUTH_SUFFIX

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from pandas import DataFrame

__all__ = ["ReadColumns", "StreamEvents", "read_columns"]

ReadColumns = Callable[["BlueskyRun", str, Sequence[str]], "DataFrame | None"]
"""Gives columns of a stream's table, as :func:`read_columns` does."""


def read_columns(run: BlueskyRun, stream: str, columns: Sequence[str]) -> DataFrame | None:
    """Read columns of a stream's table; None if there is no such stream or no row yet.

    A column that the run does not have, since an older version stored it, is not a number throughout.
    """
    try:
        table = run.base[f"{stream}/internal"]
    except KeyError:
        return None
    stored = [name for name in columns if name in table.columns]
    return table.read(stored).reset_index(drop=True).reindex(columns=list(columns))


class StreamEvents:
    """The events of a stream.

    Parameters
    ----------
    run : BlueskyRun
    stream : str
    descriptor : mapping
        Of the stream; the first one, and what later ones changed, as `bluesky_tiled_plugins` keeps it.
    read : callable
        What reads the table; by default each time anew.

    Attributes
    ----------
    data_keys : mapping
        Of the descriptor.
    """

    def __init__(
        self, run: BlueskyRun, stream: str, descriptor: Mapping[str, Any], read: ReadColumns = read_columns
    ) -> None:
        self.run, self.stream, self.descriptor = run, stream, descriptor
        self._read = read
        self.data_keys: Mapping[str, Any] = descriptor.get("data_keys", {})

    @cached_property
    def numbers(self) -> list[str]:
        """Keys that are a number in each event."""
        return [
            key
            for key, spec in self.data_keys.items()
            if spec["dtype"] in ("number", "integer") and not spec.get("external") and not spec.get("shape")
        ]

    @cached_property
    def positions(self) -> list[str]:
        """Keys of the moved motors; all numbers of the stream where nothing was moved."""
        hints = self.descriptor.get("hints", {})
        moved: list[str] = []
        for motor in self.run.start.get("motors") or ():
            fields = hints.get(motor, {}).get("fields")
            moved += fields or [
                key for key in self.numbers if self.data_keys[key].get("object_name") == motor
            ]
        return [key for key in dict.fromkeys(moved) if key in self.numbers] or self.numbers

    def truth_key(self, data_key: str) -> str | None:
        """Give the key under which a simulated detector states the disk number of its frames."""
        owners = [
            key
            for key in self.numbers
            if key.endswith(TRUTH_SUFFIX) and data_key.startswith(key[: -len(TRUTH_SUFFIX)] + "_")
        ]
        return max(owners, key=len, default=None)

    def streamed_truth(self, data_key: str) -> NDArray[np.float64]:
        """Read the disk number of each frame, shape (N,), where it is streamed beside them; else nothing."""
        key = f"{data_key}{STREAMED_TRUTH_SUFFIX}"
        if key not in self.data_keys:
            return np.zeros(0)
        return np.asarray(self.run.base[f"{self.stream}/{key}"].read(), np.float64).reshape(-1)

    def columns(self, names: Sequence[str]) -> DataFrame | None:
        """Read columns of the table; see :func:`read_columns`."""
        return self._read(self.run, self.stream, names)

    @cached_property
    def times(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Sequence number and time (seconds since the epoch) of each event, in the order of the rows."""
        table = self.columns(["seq_num", "time"])
        if table is None:
            return np.zeros(0, np.int64), np.zeros(0)
        return table["seq_num"].to_numpy(np.int64), table["time"].to_numpy(np.float64)
