"""A table in the terminal that grows by a row with each classified frame.

It takes the place of the table of bluesky's BestEffortCallback, and has its columns beside ours: time,
positions, and what the devices hint at. A run without frames has a row for each of its points.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from speckle_plugin.documents.descriptors import holds_images
from speckle_plugin.documents.dimensions import dimension_fields, hinted_fields
from speckle_plugin.documents.readings import Readings
from speckle_plugin.documents.routing import RunCallback
from speckle_plugin.schema import (
    CLASS_NAMES,
    CLASSIFICATION_STREAM,
    CLASSIFIER,
    LEFT_OUT,
    NETWORKS,
    POSSIBLE,
    PRIMARY,
    STRUCTURE_SUMMARY,
    SUMMARY,
    TRUTH_SUFFIX,
    Opinion,
    Status,
    split_image_key,
)

__all__ = ["LiveTable"]

LEAST_WIDTH = 9

MOST_COLUMNS = 6
"""Of positions and hinted readings together: a table of more is wider than a terminal."""

SURE = 0.8
"""Confidence below which a number is drawn in another colour."""


class LiveTable(RunCallback["_RunTable"]):
    """Prints frame, time, readings, disk number, confidence and flags; subscribe it to a LiveClassifier.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print.
    """

    def __init__(self, console: Console | None = None) -> None:
        super().__init__()
        self._console = console or Console()

    def open_run(self, start: Mapping[str, Any]) -> _RunTable:
        """Give the table of a run."""
        return _RunTable(start, self._console)


class _RunTable:
    """The table of one run."""

    def __init__(self, start: Mapping[str, Any], console: Console) -> None:
        self._start, self._console = start, console
        self._descriptors: dict[str, Mapping[str, Any]] = {}
        self._columns: dict[str, list[str]] = {}
        self._readings = Readings()
        self._results = ""
        self._names: dict[int, str] = {}
        self._printed: tuple[str, ...] | None = None

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        if name == "start":
            self._print_title()
        elif name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            self._results = doc["uid"]
            model = doc["configuration"][CLASSIFIER]["data"]
            self._names = dict(enumerate(model.get(CLASS_NAMES, ()), start=1))
        elif name == "event" and doc["descriptor"] == self._results:
            self._print_result(doc)
        elif name == "stop":
            self._print_summary(doc.get(SUMMARY) or {})
            self._print_opinions(doc.get(STRUCTURE_SUMMARY) or {})
        else:
            if name == "descriptor":
                self._describe(doc)
            self._readings.add(name, doc)
            if name == "event" and doc["descriptor"] in self._descriptors:
                self._print_point(doc)

    def _describe(self, descriptor: Mapping[str, Any]) -> None:
        """Choose the columns of a stream; of `primary` without frames the points themselves are printed."""
        stream = descriptor.get("name", PRIMARY)
        fields = dict.fromkeys([*dimension_fields(self._start, descriptor), *hinted_fields(descriptor)])
        columns = [f for f in fields if f in descriptor["data_keys"] and not f.endswith(TRUTH_SUFFIX)]
        self._columns.setdefault(stream, columns[:MOST_COLUMNS])
        if stream == PRIMARY and not any(map(holds_images, descriptor["data_keys"].values())):
            self._descriptors[descriptor["uid"]] = descriptor

    def _print_title(self) -> None:
        start = self._start
        self._console.print(
            f"[bold]{start.get('plan_name', 'run')}[/] scan {start.get('scan_id')}  {start['uid'][:8]}"
        )

    def _print_head(self, first: str, columns: list[str], ours: str) -> None:
        """Print the head, again where rows of another stream begin."""
        if self._printed == (first, *columns):
            return
        self._printed = (first, *columns)
        names = [f"{column:>{_width(column)}}" for column in columns]
        self._console.print(Text(" ".join([first, "    time", *names, ours]), style="dim"), soft_wrap=True)

    def _row(self, number: int, time: float, columns: list[str], reading: Mapping[str, Any]) -> Text:
        row = Text(f"{number:5d} {datetime.fromtimestamp(time):%H:%M:%S}")
        for column in columns:
            value = reading.get(column)
            text = f"{value:.3f}" if isinstance(value, float) else "-" if value is None else str(value)
            row.append(f" {text:>{_width(column)}}")
        return row

    def _print_point(self, event: Mapping[str, Any]) -> None:
        columns = self._columns[PRIMARY]
        self._print_head("point", columns, "")
        row = self._row(event["seq_num"], event["time"], columns, event["data"])
        self._console.print(row, soft_wrap=True)

    def _print_result(self, event: Mapping[str, Any]) -> None:
        result = event["data"]
        columns = self._columns.get(split_image_key(result["image_key"])[0] or PRIMARY, [])
        self._print_head("frame", columns, "disks  confidence  truth  flags")
        reading = self._readings.find(result["image_key"], result["primary_seq_num"])
        row = self._row(result["frame_index"], event["time"] - result["latency"], columns, reading)
        truth = next((v for k, v in reading.items() if k.endswith(TRUTH_SUFFIX)), None)
        if result["status"] == Status.CLASSIFIED:
            right = truth is None or truth == result["disk_number"]
            label = self._names.get(result["disk_number"]) or str(result["disk_number"])
            row.append(f"  {label:>4}", style="bold green" if right else "bold red")
            row.append(
                f"  {result['confidence']:9.1%}", style="" if result["confidence"] >= SURE else "yellow"
            )
        else:
            row.append(f"     -  {result['status']:>9}", style="yellow")
        row.append(f"  {truth if truth is not None else '-':>6}  ")
        row.append(result["flags"], style="yellow")
        if "," in result[POSSIBLE]:
            row.append(f"  possible: {result[POSSIBLE]}", style="dim")
        self._console.print(row, soft_wrap=True)

    def _print_summary(self, summary: Mapping[str, Any]) -> None:
        if not summary:
            return
        counts = ", ".join(f"{summary[status]} {status}" for status in Status)
        self._console.print(f"[bold]{summary['frames']} frames[/]: {counts}")
        for problem in summary.get("problems", ()):
            self._console.print(f"  {problem['frames']} x {problem['reason']}", style="yellow")
        for key, network in summary.get(NETWORKS, {}).items():
            name = f"{network['model']} {network['model_version']}"
            self._console.print(Text(f"  {key}: network {name}, {network['why']}", style="dim"))
        for key, reason in summary.get(LEFT_OUT, {}).items():
            self._console.print(f"  {key} is not classified: {reason}", style="yellow")

    def _print_opinions(self, summary: Mapping[str, Any]) -> None:
        if not summary:
            return
        counts = ", ".join(f"{summary[o]} {o.replace('_', ' ')}" for o in Opinion if summary[o])
        self._console.print(f"{summary['frames']} second opinions: {counts}")
        if summary["disagree"]:
            told = "frames are solved to another number than the network's"
            self._console.print(f"  {summary['disagree']} {told}", style="yellow")


def _width(column: str) -> int:
    return max(LEAST_WIDTH, len(column))
