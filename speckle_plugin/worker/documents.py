"""Classify from the documents of a scan elsewhere, while it goes on, into the run that its session stores.

The session that measures writes the raw documents; this one adds the stream `classification`, and the
summary when the run has its stop document. Documents may be lost on the way (0MQ drops them where too many
wait): whoever publishes the summary compares it with the stored run afterwards.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.routing import OpenRuns
from speckle_plugin.live import LiveClassifier
from speckle_plugin.schema import CLASSIFICATION_STREAM, CLASSIFIED_HERE, SUMMARY
from speckle_plugin.store.leases import RunLease, RunLeases

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

    from speckle_plugin.store.write.run_writer import ResultStreamWriter

__all__ = ["ClaimedRuns", "FinishedRun", "ResultKeeper"]

logger = logging.getLogger(__name__)


class ClaimedRuns:
    """A callback that hands on the documents of runs which no other worker has.

    Parameters
    ----------
    leases : RunLeases
    live : LiveClassifier
    """

    def __init__(self, leases: RunLeases, live: LiveClassifier) -> None:
        self._leases, self._live = leases, live
        self._open: OpenRuns[str] = OpenRuns()
        self.held: dict[str, RunLease] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "start":
            lease = None if doc.get(CLASSIFIED_HERE) else self._leases.take(doc["uid"])
            if lease is None:
                return
            self.held[doc["uid"]] = lease
            self._open.open(doc["uid"], doc["uid"])
            mine = True
        elif name == "stop":
            mine = self._open.close(doc["run_start"]) is not None
        else:
            mine = bool(self._open.find(name, doc))
        if mine:
            self._live(name, doc)

    def release(self, uid: str) -> None:
        """Give a run free."""
        if (lease := self.held.pop(uid, None)) is not None:
            lease.release()


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A run whose documents have ended.

    Parameters
    ----------
    uid : str
    publish : callable
        Writes the summary; to be called when the stored run has its stop document.
    """

    uid: str
    publish: Callable[[], None]


class ResultKeeper:
    """A subscriber of the live pipeline that writes results into stored runs.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        Where the session that measures stores its runs.

    Attributes
    ----------
    finished : queue of FinishedRun
    """

    def __init__(self, runs: CatalogOfBlueskyRuns) -> None:
        self.finished: queue.SimpleQueue[FinishedRun] = queue.SimpleQueue()
        self._runs = runs
        self._open: dict[str, _KeptRun] = {}

    def open_run(self, start: Mapping[str, Any]) -> Callable[[str, dict[str, Any]], None]:
        """Give what takes the documents of a run."""
        kept = self._open[start["uid"]] = _KeptRun(start["uid"], self._runs)

        def take(name: str, doc: dict[str, Any]) -> None:
            kept.take(name, doc)
            if name == "stop":
                self._open.pop(kept.uid, None)
                self.finished.put(FinishedRun(kept.uid, kept.publish))

        return take

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document of no run that is open: there is nothing to do."""

    def flush(self) -> None:
        """Write what has come."""
        for kept in list(self._open.values()):
            kept.flush()


class _KeptRun:
    """The results of one run."""

    def __init__(self, uid: str, runs: CatalogOfBlueskyRuns) -> None:
        self.uid = uid
        self._runs = runs
        self._waiting: list[tuple[str, dict[str, Any]]] = []
        self._descriptors: set[str] = set()
        self._run: BlueskyRun | None = None
        self._writer: ResultStreamWriter | None = None
        self._given_up = False
        self._stop: dict[str, Any] = {}

    def take(self, name: str, doc: dict[str, Any]) -> None:
        """Take a raw or a result document; raw ones are the session's to write."""
        if name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            self._descriptors.add(doc["uid"])
        elif name == "stop":
            self._stop = doc
            return
        elif not (name in ("event", "event_page") and doc["descriptor"] in self._descriptors):
            return
        if not self._given_up:
            self._waiting.append((name, doc))

    def flush(self) -> None:
        """Write what has come, once the session has stored the beginning of the run."""
        if not self._waiting or self._given_up:
            return
        try:
            if self._writer is None and not self._begin():
                return
            while self._waiting and self._writer is not None:
                self._writer(*self._waiting[0])
                self._waiting.pop(0)
            if self._writer is not None:
                self._writer.flush()
        except Exception as error:
            self._give_up(f"its results could not be written: {error}")

    def _begin(self) -> bool:
        from speckle_plugin.store.write.run_writer import ResultStreamWriter  # imports Tiled

        try:
            run = self._runs[self.uid]
        except KeyError:
            return False
        if CLASSIFICATION_STREAM in run.base:
            self._give_up("its own session classifies it")
            return False
        self._run, self._writer = run, ResultStreamWriter(run)
        return True

    def _give_up(self, reason: str) -> None:
        self._given_up = True
        self._waiting.clear()
        logger.warning("the run %s is left to the end: %s", self.uid, reason)

    def publish(self) -> None:
        """Write what is left and the summary, for a run that has its stop document."""
        self.flush()
        if self._writer is None or self._run is None or self._given_up or SUMMARY not in self._stop:
            return
        try:
            self._run.refresh()  # a change is worked out from what the client knows of the run
            self._writer.publish(self._stop)
        except Exception as error:
            self._give_up(f"its summary could not be written: {error}")
