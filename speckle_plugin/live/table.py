"""A table in the terminal that grows by a row with each classified frame."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from speckle_plugin.schema import CLASSIFICATION_STREAM, LEFT_OUT, SUMMARY, TRUTH_SUFFIX, Status

__all__ = ["LiveTable"]

POSITION_WIDTH = 9


class LiveTable:
    """Prints frame, position, disk number, confidence and flags; subscribe it to a LiveClassifier.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to print.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._motors: list[str] = []
        self._readings: dict[int, dict[str, Any]] = {}
        self._result_descriptors: set[str] = set()

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        if name == "start":
            self._motors = list(doc.get("motors") or ())
            self._readings.clear()
            self._result_descriptors.clear()
            self._console.print(
                f"[bold]{doc.get('plan_name', 'run')}[/] scan {doc.get('scan_id')}  {doc['uid'][:8]}"
            )
            columns = [f"{motor:>{POSITION_WIDTH}}" for motor in self._motors]
            self._console.print(
                Text(" ".join(["frame", *columns, "disks  confidence  truth  flags"]), style="dim")
            )
        elif name == "descriptor" and doc["name"] == CLASSIFICATION_STREAM:
            self._result_descriptors.add(doc["uid"])
        elif name == "event" and doc["descriptor"] in self._result_descriptors:
            self._print_result(doc["data"])
        elif name == "event":
            self._readings[doc["seq_num"]] = doc["data"]
        elif name == "stop" and SUMMARY in doc:
            self._print_summary(doc[SUMMARY])

    def _print_result(self, result: dict[str, Any]) -> None:
        reading = self._readings.get(result["primary_seq_num"], {})
        # Results come in order: what lies behind is not needed again.
        for seq_num in [n for n in self._readings if n < result["primary_seq_num"]]:
            del self._readings[seq_num]
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
