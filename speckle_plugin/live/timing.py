"""How long frames took: from detector to label, and from detector to a row that can be read."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

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


class RunReports:
    """Collects the reports of the latest runs from the documents delivered to it."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._by_run: OrderedDict[str, RunReport] = OrderedDict()
        self._by_descriptor: dict[str, RunReport] = {}
        self._unstored: list[tuple[RunReport, float]] = []

    def __getitem__(self, uid: str) -> RunReport:
        """Give the report of a run by its uid.

        Raises
        ------
        KeyError
            If the run is not among the latest.
        """
        return self._by_run[uid]

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        if name == "start":
            self._by_run[doc["uid"]] = RunReport(doc["uid"])
            while len(self._by_run) > KEPT:
                self._by_run.popitem(last=False)
        elif name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            report = self._by_run.get(doc["run_start"])
            if report is not None:
                self._by_descriptor[doc["uid"]] = report
        elif name == "event" and doc["descriptor"] in self._by_descriptor:
            if doc["data"]["latency"]:
                report = self._by_descriptor[doc["descriptor"]]
                report.to_label.append(doc["data"]["latency"])
                self._unstored.append((report, doc["time"] - doc["data"]["latency"]))
        elif name == "stop" and doc["run_start"] in self._by_run:
            report = self._by_run[doc["run_start"]]
            report.summary = doc.get(SUMMARY, {})
            self._by_descriptor = {k: r for k, r in self._by_descriptor.items() if r is not report}

    def note_stored(self) -> None:
        """All that was delivered so far can be read from the store."""
        now = self._clock()
        for report, taken in self._unstored:
            report.to_stored.append(now - taken)
        self._unstored.clear()
