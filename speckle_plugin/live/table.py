"""A table in the terminal that grows by a row with each classified frame."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.text import Text

from speckle_plugin.documents.readings import Readings
from speckle_plugin.documents.routing import RunCallback
from speckle_plugin.schema import (
    CLASSIFICATION_STREAM,
    LEFT_OUT,
    STRUCTURE_SUMMARY,
    SUMMARY,
    TRUTH_SUFFIX,
    Opinion,
    Status,
)

__all__ = ["LiveTable"]

POSITION_WIDTH = 9


class LiveTable(RunCallback["_RunTable"]):
    """Prints frame, position, disk number, confidence and flags; subscribe it to a LiveClassifier.

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
        self._console = console
        self._motors: list[str] = list(start.get("motors") or ())
        self._readings = Readings()
        self._results = ""

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        if name == "start":
            self._print_head(doc)
        elif name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            self._results = doc["uid"]
        elif name == "event" and doc["descriptor"] == self._results:
            self._print_result(doc["data"])
        elif name in ("descriptor", "event", "event_page"):
            self._readings.add(name, doc)
        elif name == "stop" and SUMMARY in doc:
            self._print_summary(doc[SUMMARY])
            self._print_opinions(doc.get(STRUCTURE_SUMMARY) or {})

    def _print_head(self, start: Mapping[str, Any]) -> None:
        self._console.print(
            f"[bold]{start.get('plan_name', 'run')}[/] scan {start.get('scan_id')}  {start['uid'][:8]}"
        )
        columns = [f"{motor:>{POSITION_WIDTH}}" for motor in self._motors]
        self._console.print(
            Text(" ".join(["frame", *columns, "disks  confidence  truth  flags"]), style="dim")
        )

    def _print_result(self, result: dict[str, Any]) -> None:
        reading = self._readings.find(result["image_key"], result["primary_seq_num"])
        row = Text(f"{result['frame_index']:5d}")
        for motor in self._motors:
            position = reading.get(motor)
            text = f"{position:.3f}" if isinstance(position, float | int) else "-"
            row.append(f" {text:>{POSITION_WIDTH}}")
        truth = next((v for k, v in reading.items() if k.endswith(TRUTH_SUFFIX)), None)
        if result["status"] == Status.CLASSIFIED:
            right = truth is None or truth == result["disk_number"]
            row.append(f"  {result['disk_number']:4d}", style="bold green" if right else "bold red")
            row.append(
                f"  {result['confidence']:9.1%}", style="" if result["confidence"] >= 0.8 else "yellow"
            )
        else:
            row.append(f"     -  {result['status']:>9}", style="yellow")
        row.append(f"  {truth if truth is not None else '-':>6}  ")
        row.append(result["flags"], style="yellow")
        self._console.print(row)

    def _print_summary(self, summary: dict[str, Any]) -> None:
        counts = ", ".join(f"{summary[status]} {status}" for status in Status)
        self._console.print(f"[bold]{summary['frames']} frames[/]: {counts}")
        for problem in summary.get("problems", ()):
            self._console.print(f"  {problem['frames']} x {problem['reason']}", style="yellow")
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
