"""Which runs of a catalog wait for labels; and word from the server that something has changed."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import SUMMARY
from speckle_plugin.store import find_runs

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["Changes", "WaitingRuns", "waits_for_labels"]

logger = logging.getLogger(__name__)


def waits_for_labels(run: BlueskyRun) -> bool:
    """Tell whether a finished run has frames without a label that can get one, as far as its summary says."""
    stop = run.metadata.get("stop")
    if stop is None:
        return False
    summary = stop.get(SUMMARY)
    return summary is None or bool(summary.get("deferred"))


class WaitingRuns:
    """Finds runs to classify, and looks at those that are settled no more.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    since : float, str, date or datetime, optional
        Runs that started before are left alone.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, since: Any = None) -> None:
        self._runs, self._since = runs, since
        self._settled: set[str] = set()
        self._latest: float | None = None
        self._open: set[str] = set()

    def __iter__(self) -> Iterator[BlueskyRun]:
        """Iterate over the runs that wait, those that are still being measured left out."""
        # Runs are stored in the order of their start, but for clocks of several machines.
        since = self._since if self._latest is None else max(self._latest - 3600.0, 0.0)
        found = {str(run.start["uid"]): run for run in find_runs(self._runs, since=since).values()}
        for uid in self._open - found.keys():
            if uid in self._runs:
                found[uid] = self._runs[uid]
        for uid, run in found.items():
            self._latest = max(self._latest or 0.0, run.start["time"])
            if uid in self._settled:
                continue
            if run.metadata.get("stop") is None:
                self._open.add(uid)
            elif waits_for_labels(run):
                yield run
            else:
                self.settle(uid)

    def settle(self, uid: str) -> None:
        """Look at a run no more."""
        self._settled.add(uid)
        self._open.discard(uid)

    def wait(self, uid: str) -> None:
        """Look at a run again, however old it is."""
        self._open.add(uid)


class Changes:
    """Sets an event when the server tells of new runs or ends of runs; polling does without it.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
    changed : threading.Event
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, changed: threading.Event) -> None:
        self._changed = changed
        self._closing = False
        self._subscription = runs.subscribe()
        self._tell_all = self._tell  # Tiled keeps weak references
        self._subscription.child_created.add_callback(self._tell_all)
        self._subscription.child_metadata_updated.add_callback(self._tell_all)
        self._thread = threading.Thread(target=self._listen, name="speckle-changes", daemon=True)
        self._thread.start()

    def _tell(self, update: Any) -> None:
        self._changed.set()

    def _listen(self) -> None:
        try:
            # From the past as well, so that nothing falls between the last look and now.
            self._subscription.start(0)
        except Exception as error:  # a server without a streaming cache, or one that is gone
            if not self._closing:
                logger.info("no word of changes from the server (%s): it is asked again and again", error)

    def close(self) -> None:
        """Listen no more."""
        self._closing = True
        self._subscription.disconnect(wait=False)
        self._thread.join(5.0)
