"""The list of runs, page by page: what each is, its counts and its lowest confidence."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from speckle_plugin.schema import Status
from speckle_plugin.store import StoredRun, find_runs

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["FILTERS", "PAGE", "RunList", "RunPage", "RunRow"]

PAGE = 14
"""Runs on a page."""

LOOK_INTERVAL = 4.0
"""Seconds between looking at the results of a run that is open and that nobody follows."""

FILTERS: dict[str, dict[str, Any]] = {
    "all runs": {},
    "with flagged frames": {"flagged": True},
    "confidence below 0.8": {"max_confidence": 0.8},
    "frames without a label yet": {"deferred": True},
    "solved, and disagreeing": {"disagrees": True},
}
"""What the list can be narrowed to, by arguments of :func:`speckle_plugin.store.find_runs`."""


@dataclass(frozen=True)
class RunRow:
    """A run of the list.

    Parameters
    ----------
    uid : str
    scan_id : int or None
    time : float
        Of its start, seconds since the epoch.
    plan, sample : str
    state : str
        `open` until its stop document, then its exit status.
    counts : mapping of Status to int
        The frame counts; empty where nothing was classified.
    min_confidence : float or None
    """

    uid: str
    scan_id: int | None
    time: float
    plan: str
    sample: str
    state: str
    counts: Mapping[str, int]
    min_confidence: float | None

    @property
    def frames(self) -> int:
        """How many frames have a result."""
        return sum(self.counts.values())


@dataclass(frozen=True)
class RunPage:
    """A page of the list, the newest run first.

    Parameters
    ----------
    rows : tuple of RunRow
    number : int
        From 0.
    total : int
        Runs on all pages.
    """

    rows: tuple[RunRow, ...] = ()
    number: int = 0
    total: int = 0


class RunList:
    """Reads pages of the catalog.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    live_counts : callable
        Gives, by uid, the counts and the lowest confidence of a run that is followed anyway, or None.
    """

    def __init__(
        self,
        runs: CatalogOfBlueskyRuns,
        live_counts: Callable[[str], tuple[Mapping[str, int], float | None] | None] = lambda uid: None,
    ) -> None:
        self._runs, self._live_counts = runs, live_counts
        self._looked: dict[str, tuple[float, dict[str, int], float | None]] = {}

    def page(self, number: int, narrowed: str = "all runs") -> RunPage:
        """Read a page; behind the last one, the last one.

        Parameters
        ----------
        number : int
            From 0, the newest runs.
        narrowed : str
            One of the :data:`FILTERS`.
        """
        conditions = FILTERS[narrowed]
        found = find_runs(self._runs, **conditions) if conditions else self._runs
        total = len(found)
        number = max(0, min(number, (total - 1) // PAGE))
        first = number * PAGE
        # An empty slice of a search is a request that Tiled refuses.
        chosen = found.values()[-1 - first : -1 - first - min(PAGE, total - first) : -1] if total else []
        return RunPage(tuple(self._row(run) for run in chosen), number, total)

    def _row(self, run: BlueskyRun) -> RunRow:
        stored = StoredRun(run)
        start, stop = stored.start, stored.stop
        counts = {str(status): int(stored.summary.get(status, 0)) for status in Status}
        lowest = stored.summary.get("min_confidence")
        if stop is None:
            counts, lowest = self._counts_of_open(stored)
        return RunRow(
            stored.uid,
            start.get("scan_id"),
            float(start.get("time", 0.0)),
            str(start.get("plan_name", "")),
            _text(start.get("sample") or start.get("sample_name") or ""),
            "open" if stop is None else str(stop.get("exit_status", "")),
            counts,
            lowest,
        )

    def _counts_of_open(self, stored: StoredRun) -> tuple[dict[str, int], float | None]:
        followed = self._live_counts(stored.uid)
        if followed is not None:
            return dict(followed[0]), followed[1]
        looked, counts, lowest = self._looked.get(stored.uid, (-np.inf, {}, None))
        if time.monotonic() - looked < LOOK_INTERVAL:
            return counts, lowest
        table = stored.result_columns(["status", "confidence"])
        counts, lowest = dict.fromkeys(map(str, Status), 0), None
        if table is not None:
            counts |= {str(key): int(n) for key, n in table["status"].value_counts().items()}
            confidence = table.loc[table["status"] == Status.CLASSIFIED, "confidence"]
            lowest = float(confidence.min()) if len(confidence) else None
        self._looked[stored.uid] = (time.monotonic(), counts, lowest)
        return counts, lowest


def _text(value: Any) -> str:
    """Give what a sample is called: often a name, sometimes a mapping that has one."""
    if isinstance(value, Mapping):
        value = value.get("name", next(iter(value.values()), ""))
    return str(value)[:60]
