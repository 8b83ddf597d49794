"""One run as it grows: its frames, how they are laid out, what waits, and how late the labels are."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from speckle_plugin.monitor.growing_tables import GrowingTables
from speckle_plugin.monitor.layout import Layout, layout_of
from speckle_plugin.schema import LEFT_OUT, PRIMARY, Status
from speckle_plugin.store import FRAME_COLUMNS, StoredRun, frames_of
from speckle_plugin.store.read.images import StoredImages

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns
    from pandas import DataFrame

__all__ = ["WAITING", "FollowedRun", "RunState"]

WAITING = "waiting"
"""Status, on the page, of a frame that was taken and has no result yet."""

LATEST = 50
"""Frames from which the time from frame to label is told."""

SHORTEST_INTERVAL = 0.4
"""Seconds between two looks at a run."""

SHARE = 2.0
"""A look is not repeated before so many times its duration."""

QUIET_INTERVAL = 5.0
"""Seconds between looks at a run that has ended: results may be completed later."""

FAILED_INTERVAL = 2.0
"""Seconds after a look that failed."""

_VERSIONS = itertools.count()
"""A run that is let go and followed again must not come to a version that a page has drawn before."""


@dataclass(frozen=True, eq=False)
class RunState:
    """A run at one moment.

    Parameters
    ----------
    uid : str
    start : mapping
        The start document.
    stop : mapping or None
    table : DataFrame
        A row for each frame, as :func:`speckle_plugin.store.find_frames` gives it; frames without a result
        have the status `waiting`.
    layout : Layout
    image_keys : tuple of str
    model : mapping
        The classifier's configuration; empty where nothing was classified.
    counts : mapping of status to int
        With `waiting`; they add up to the frames that were taken.
    latency : (float, float) or None
        Seconds from frame to label of the latest frames: median and largest.
    newest : float
        Time of the newest frame, seconds since the epoch.
    has_structures : bool
        Whether second opinions are stored.
    version : int
        The same in two looks that found the same.
    """

    uid: str
    start: Mapping[str, Any]
    stop: Mapping[str, Any] | None
    table: DataFrame
    layout: Layout
    image_keys: tuple[str, ...] = ()
    model: Mapping[str, Any] = field(default_factory=dict)
    counts: Mapping[str, int] = field(default_factory=dict)
    latency: tuple[float, float] | None = None
    newest: float = np.nan
    has_structures: bool = False
    version: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the run has no stop document yet."""
        return self.stop is None

    @property
    def lowest_confidence(self) -> float | None:
        """Of the classified frames; None without any."""
        confidence = self.table.loc[self.table["status"] == Status.CLASSIFIED, "confidence"]
        return float(confidence.min()) if len(confidence) else None

    @property
    def behind(self) -> float:
        """Seconds that the oldest waiting frame has waited; 0 where none waits or the run has ended."""
        waiting = self.table.loc[self.table["status"] == WAITING, "time"]
        if not self.is_open or waiting.empty or not np.isfinite(waiting.min()):
            return 0.0
        return max(0.0, time.time() - float(waiting.min()))


class FollowedRun:
    """Looks at a run again and again.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    uid : str

    Attributes
    ----------
    state : RunState or None
        The run at the last look; replaced as a whole.
    wanted : float
        When somebody last asked for the run, by `time.monotonic`.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, uid: str) -> None:
        self.uid, self._runs = uid, runs
        self.state: RunState | None = None
        self.wanted = time.monotonic()
        self._tables = GrowingTables()
        self._stored: StoredRun | None = None
        self._next_look = 0.0
        self._told: tuple[Any, ...] = ()
        self._lock = threading.Lock()

    def look_soon(self) -> None:
        """Look at the next occasion: the server told that something changed."""
        self._next_look = 0.0

    @property
    def is_due(self) -> bool:
        """Whether it is time to look."""
        return time.monotonic() >= self._next_look

    def look(self) -> None:
        """Look at the run.

        Raises
        ------
        KeyError
            If there is no such run.
        """
        with self._lock:
            began = time.monotonic()
            self._next_look = began + FAILED_INTERVAL  # unless this look goes well
            before = self.state
            run = self._runs[self.uid]
            if run.metadata.get("stop") is not None and (
                before is None or before.stop != run.metadata["stop"]
            ):
                self._tables.look_again()
            stored = StoredRun(run, self._tables.read)
            state = _state_of(stored)
            told = (
                len(state.table),
                dict(state.counts),
                state.stop,
                state.latency,
                state.has_structures,
                state.layout,
                # Results may be there before the events that say where their frames were taken.
                int(np.isfinite(state.table[state.layout.x].to_numpy(float)).sum()),
            )
            version = before.version if before is not None and told == self._told else next(_VERSIONS)
            self.state, self._told, self._stored = replace(state, version=version), told, stored
            took = time.monotonic() - began
            shortest = SHORTEST_INTERVAL if state.is_open else QUIET_INTERVAL
            self._next_look = time.monotonic() + max(shortest, SHARE * took)

    def stored_with(self, image_key: str, frame_index: int) -> StoredRun:
        """Give the run for reading one frame: as it was at the last look, if that knew the frame.

        While a run grows, each request to the server is at the cost of the scan. A run that has ended is
        read anew, since its results may have been completed.
        """
        stored = self._stored
        if stored is None or stored.stop is not None:
            return StoredRun(self._runs[self.uid])
        images = stored.images.get(image_key)
        if stored.model and images is not None and frame_index < len(images):
            return stored
        return StoredRun(self._runs[self.uid], self._tables.read)

    def close(self) -> None:
        """Listen no more."""
        self._tables.close()


def _state_of(stored: StoredRun) -> RunState:
    left_out = stored.summary.get(LEFT_OUT) or {}
    chosen = stored.settings.image_keys
    images = {
        key: one
        for key, one in stored.images.items()
        if key not in left_out and (chosen is None or one.data_key in chosen)
    }
    table = frames_of(stored)
    parts = [] if table is None else [table]
    for one in images.values():
        waiting = _without_result(stored, one, table)
        if not waiting.empty:
            parts.append(waiting)
    table = pd.concat(parts, ignore_index=True) if parts else _empty()
    # Frames that only a flush of results has told of so far are in no count of the raw stream.
    counts = {str(status): int((table["status"] == status).sum()) for status in (*Status, WAITING)}
    return RunState(
        stored.uid,
        stored.start,
        stored.stop,
        table,
        _layout(stored, images, table),
        tuple(images),
        stored.model,
        counts,
        _latency(stored),
        float(table["time"].max()) if len(table) else np.nan,
        stored.structure_columns(["frame_index"]) is not None,
    )


def _empty() -> DataFrame:
    return pd.DataFrame({key: pd.Series(dtype=kind) for key, kind in FRAME_COLUMNS.items()})


def _without_result(stored: StoredRun, images: StoredImages, table: DataFrame | None) -> DataFrame:
    """Give rows for frames of which the results say nothing."""
    missing = np.arange(len(images))
    if table is not None:
        missing = np.setdiff1d(missing, table.loc[table["image_key"] == images.image_key, "frame_index"])
    if not len(missing):
        return _empty()
    events = missing // max(1, images.frames_per_event)
    numbers = images.events.times[0]
    seq_num = events + 1
    seq_num[events < len(numbers)] = numbers[events[events < len(numbers)]]
    rows = pd.DataFrame({"frame_index": missing, "primary_seq_num": seq_num}).assign(
        run_uid=stored.uid,
        image_key=images.image_key,
        scan_id=stored.start.get("scan_id", pd.NA),
        disk_number=0,
        flags="",
        possible="",
        status=WAITING,
        certificate="",
        **images.circumstances(missing, seq_num),
    )
    others = [name for name in rows.columns if name not in FRAME_COLUMNS]
    return rows.reindex(columns=[*FRAME_COLUMNS, *others]).astype(FRAME_COLUMNS)


def _layout(stored: StoredRun, images: Mapping[str, StoredImages], table: DataFrame) -> Layout:
    streams = [one.events for one in images.values()]
    events = next((one for one in streams if one.stream == PRIMARY), streams[0] if streams else None)
    if events is None or not stored.start.get("motors"):
        return layout_of(stored.start, [], {}, table)
    units = {key: str(spec.get("units") or "") for key, spec in events.data_keys.items()}
    # Without moved motors the numbers of the event are no positions.
    moved = [key for key in events.positions if events.positions != events.numbers]
    return layout_of(stored.start, moved or events.positions[: len(stored.start["motors"])], units, table)


def _latency(stored: StoredRun) -> tuple[float, float] | None:
    columns = stored.result_columns(["latency", "status"])
    if columns is None:
        return None
    latest = columns.loc[columns["status"] == Status.CLASSIFIED, "latency"].to_numpy(float)[-LATEST:]
    latest = latest[np.isfinite(latest)]
    return (float(np.median(latest)), float(latest.max())) if len(latest) else None
