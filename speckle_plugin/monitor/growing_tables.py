"""The tables of a run in progress, kept in memory: read once, then extended by what the server tells.

Tiled gives a table whole or not at all. Reading it for each frame would cost the server more with each frame,
and the scan, which writes through the same server, would pay.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from speckle_plugin.store.listening import Listener
from speckle_plugin.store.read.events import read_columns

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from pandas import DataFrame

__all__ = ["GrowingTables"]

SILENCE = 2.0
"""Seconds without a word after which a table is looked at again, and one that was not there is looked for."""

SHARE = 20.0
"""A look at a table is not repeated before so many times its duration: at most 5 % of the server's time."""

LONGEST_PAUSE = 30.0
"""Seconds until a table that brought nothing new is looked at again, at most."""


class GrowingTables:
    """The tables of one run; `read` is what :class:`speckle_plugin.store.StoredRun` takes to read them.

    Several threads may read. After `close` tables are read as for anybody, and nothing is kept.
    """

    def __init__(self) -> None:
        self._tables: dict[str, _Table] = {}
        self._missing: dict[str, float] = {}
        self._closed = False
        self._lock = threading.RLock()

    def read(self, run: BlueskyRun, stream: str, columns: Sequence[str]) -> DataFrame | None:
        """Give columns of a stream's table, as :func:`speckle_plugin.store.read.events.read_columns` does."""
        with self._lock:
            if not self._closed:
                return self._read(run, stream, columns)
        return read_columns(run, stream, columns)

    def _read(self, run: BlueskyRun, stream: str, columns: Sequence[str]) -> DataFrame | None:
        if stream not in self._tables:
            if time.monotonic() - self._missing.get(stream, -np.inf) < SILENCE:
                return None
            try:
                node = run.base[f"{stream}/internal"]
            except KeyError:
                self._missing[stream] = time.monotonic()
                return None
            self._tables[stream] = _Table(node, listen=_is_open(run))
            # Others may have come as well: without the events, results have no positions.
            self._missing.clear()
        return self._tables[stream].rows(_is_open(run)).reindex(columns=list(columns))

    def look_again(self) -> None:
        """Have each table read anew when it is asked for next: the run has ended, or got other results."""
        with self._lock:
            self._missing.clear()
            for table in self._tables.values():
                table.stale = True

    def close(self) -> None:
        """Listen no more."""
        with self._lock:
            self._closed = True
            for table in self._tables.values():
                table.close()
            self._tables.clear()


def _is_open(run: BlueskyRun) -> bool:
    return run.metadata.get("stop") is None


class _Table:
    """One table; that of a run that has ended stays as it is."""

    def __init__(self, node: Any, listen: bool) -> None:
        self.stale = True
        self._node = node
        # The times at which each value was set are of no use here, and are half of the columns.
        self._columns = [name for name in node.columns if not name.startswith("ts_")]
        self._rows: DataFrame | None = None
        self._pending: list[DataFrame] = []
        self._lock = threading.Lock()
        self._next_look, self._pause = 0.0, SILENCE
        self._listener = Listener(node.subscribe, ("new_data",), self._take) if listen else None

    def _take(self, update: Any) -> None:
        table = update.data()
        table = table if hasattr(table, "reindex") else table.to_pandas()
        with self._lock:
            if update.append:
                self._pending.append(table)
            else:
                self.stale = True

    def rows(self, growing: bool) -> DataFrame:
        """Give all rows so far."""
        with self._lock:
            pending, self._pending = self._pending, []
        if self._rows is not None and not self.stale:
            for table in pending:
                self._append(table)
        silent = self._listener is None or self._listener.silence > SILENCE
        unheard = growing and silent and time.monotonic() > self._next_look
        if self._rows is None or self.stale or unheard:
            self._look()
        if self._rows is None:
            raise RuntimeError("a table was read, and is not there")
        return self._rows

    def _append(self, table: DataFrame) -> None:
        import pandas as pd

        rows = self._rows
        if rows is None:
            return
        last, latest = (rows["seq_num"].max(), rows["time"].max()) if len(rows) else (0, -np.inf)
        # What was read already is told as well. After a pause two rows may have one number, at two times.
        table = table[(table["seq_num"] > last) | (table["time"] > latest)]
        if table.empty:
            return
        if table["seq_num"].iloc[0] > last + 1:
            self.stale = True  # something was not told
            return
        table = table[[name for name in self._columns if name in table.columns]]
        self._rows = pd.concat([rows, table], ignore_index=True)

    def _look(self) -> None:
        before = -1 if self._rows is None else len(self._rows)
        began = time.monotonic()
        self.stale = False
        try:
            self._rows = self._node.read(self._columns).reset_index(drop=True)
        except BaseException:
            self.stale = True
            raise
        took = time.monotonic() - began
        self._pause = SILENCE if len(self._rows) != before else min(2 * self._pause, LONGEST_PAUSE)
        self._next_look = time.monotonic() + max(self._pause, SHARE * took)

    def close(self) -> None:
        if self._listener is not None:
            self._listener.close()
