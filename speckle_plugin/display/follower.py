"""What the figure needs of a run's documents: its head, and a point for each result."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Protocol

from speckle_plugin.display.course import Course, course_of
from speckle_plugin.display.view import Point, ScanHead
from speckle_plugin.documents.dimensions import TIME
from speckle_plugin.documents.readings import Readings
from speckle_plugin.schema import (
    CLASSES,
    CLASSIFICATION_STREAM,
    CLASSIFIER,
    PRIMARY,
    SUMMARY,
    Status,
    split_image_key,
)

__all__ = ["RunFollower", "Viewer"]


class Viewer(Protocol):
    """Takes what is to be seen of runs."""

    def begin(self, head: ScanHead) -> None:
        """Take the head of a run with frames."""

    def add(self, uid: str, point: Point, latency: float) -> None:
        """Take the result of a frame."""

    def end(self, uid: str, told: str) -> None:
        """Take what became of a run."""


class RunFollower:
    """Follows the documents of one run.

    Parameters
    ----------
    start : mapping
        The start document.
    viewer : Viewer
    """

    def __init__(self, start: Mapping[str, Any], viewer: Viewer) -> None:
        self._start, self._viewer = start, viewer
        self._readings = Readings()
        self._descriptors: dict[str, Mapping[str, Any]] = {}
        self._results: Mapping[str, Any] | None = None
        self._course: Course | None = None

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document."""
        if name == "descriptor" and doc.get("name") == CLASSIFICATION_STREAM:
            self._results = doc
        elif name == "event" and self._results is not None and doc["descriptor"] == self._results["uid"]:
            self._add_result(self._results, doc)
        elif name == "stop":
            self._viewer.end(self._start["uid"], _tell_end(doc))
        else:
            self._readings.add(name, doc)
            if name == "descriptor":
                self._descriptors.setdefault(doc.get("name", PRIMARY), doc)

    def _add_result(self, results: Mapping[str, Any], event: Mapping[str, Any]) -> None:
        row = event["data"]
        if self._course is None:
            # Where the frames' own stream has no positions, those of the points are meant.
            stream = split_image_key(row["image_key"])[0] or PRIMARY
            self._course = course_of(self._start, self._descriptors.get(stream, {}))
            self._viewer.begin(self._head(results, self._course))
        reading = self._readings.find(row["image_key"], row["primary_seq_num"])
        taken = float(event["time"]) - float(row["latency"])
        x, y = (
            taken - float(self._start["time"])
            if axis is not None and axis.field == TIME
            else _position(reading, None if axis is None else axis.field)
            for axis in (self._course.x, self._course.y)
        )
        point = Point(
            row["image_key"],
            int(row["frame_index"]),
            taken,
            x,
            y,
            int(row["disk_number"]),
            float(row["confidence"]),
            str(row["status"]),
            str(row["flags"]),
        )
        self._viewer.add(self._start["uid"], point, float(row["latency"]))

    def _head(self, results: Mapping[str, Any], course: Course) -> ScanHead:
        start = self._start
        model = results.get("configuration", {}).get(CLASSIFIER, {}).get("data", {})
        told = f"{model.get('model', '')} {model.get('model_version', '')} on {model.get('engine', '')}"
        return ScanHead(
            start["uid"],
            f"scan {start.get('scan_id', '?')}: {start.get('plan_name', 'run')}   ({start['uid'][:8]})",
            course,
            tuple(int(number) for number in model.get(CLASSES) or ()),
            told,
            float(start["time"]),
        )


def _position(reading: Mapping[str, Any], field: str | None) -> float:
    value = None if field is None else reading.get(field)
    try:
        return math.nan if value is None else float(value)
    except (TypeError, ValueError):
        return math.nan


def _tell_end(stop: Mapping[str, Any]) -> str:
    status = {"success": "finished", "abort": "aborted", "fail": "failed"}.get(stop.get("exit_status", ""))
    summary = stop.get(SUMMARY) or {}
    counts = ", ".join(f"{summary[s]} {s}" for s in Status if summary.get(s))
    return f"{status or 'ended'}" + (f": {summary['frames']} frames, {counts}" if counts else "")
