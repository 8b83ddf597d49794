"""How long frames took: from detector to label, and from detector to a row that can be read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from speckle_plugin.documents.routing import RunCallback
from speckle_plugin.schema import CLASSIFICATION_STREAM, SUMMARY

__all__ = ["RunReport", "RunReports"]

KEPT = 16


@dataclass(eq=False)
class RunReport:
    """Times of the frames of one run in seconds, in order, and the summary of its stop document.

    Parameters
    ----------
    uid : str
        Of the run's start document.
    to_label, to_stored : list of float
        Only frames whose event says when they were taken.
    summary : dict
        Empty until the run has stopped.
    """

    uid: str
    to_label: list[float] = field(default_factory=list)
    to_stored: list[float] = field(default_factory=list)
    summary: dict[str, Any] = field(default_factory=dict)


class RunReports(RunCallback["_Follower"]):
    """Collects the reports of the latest runs from the documents delivered to it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        super().__init__()
        self._clock = clock
        self._by_run: OrderedDict[str, RunReport] = OrderedDict()
        self._unstored: list[tuple[RunReport, float]] = []

    def __getitem__(self, uid: str) -> RunReport:
        """Give the report of a run by its uid.

        Raises
        ------
        KeyError
            If the run is not among the latest.
        """
        return self._by_run[uid]

    def open_run(self, start: Mapping[str, Any]) -> _Follower:
        """Begin the report of a run."""
        report = self._by_run[start["uid"]] = RunReport(start["uid"])
        while len(self._by_run) > KEPT:
            self._by_run.popitem(last=False)
        return _Follower(report, self._unstored)

    def note_stored(self) -> None:
        """All that was delivered so far can be read from the store."""
        now = self._clock()
        for report, taken in self._unstored:
            report.to_stored.append(now - taken)
        self._unstored.clear()


class _Follower:
    """Writes the report of one run."""

    def __init__(self, report: RunReport, unstored: list[tuple[RunReport, float]]) -> None:
        self._report, self._unstored = report, unstored
        self._results = ""

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        if name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            self._results = doc["uid"]
        elif name == "event" and doc["descriptor"] == self._results:
            if latency := doc["data"]["latency"]:
                self._report.to_label.append(latency)
                self._unstored.append((self._report, doc["time"] - latency))
        elif name == "stop":
            self._report.summary = doc.get(SUMMARY, {})
