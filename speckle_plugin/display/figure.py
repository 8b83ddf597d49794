"""The figure: the newest frame, what the network says of it, and all frames against position or time."""

from __future__ import annotations

from collections import Counter

from matplotlib.figure import Figure

from speckle_plugin.display.course_panels import CoursePanel
from speckle_plugin.display.frame_panels import FramePanel, ProbabilityPanel
from speckle_plugin.display.view import Point, ScanHead, ScanView
from speckle_plugin.schema import Status, split_flags

__all__ = ["SIZE", "ScanFigure"]

SIZE = (13.5, 7.2)
"""Width and height in inches."""

RATE_WINDOW = 10.0
"""Seconds of the latest frames by which their rate is told."""


class ScanFigure:
    """Draws a view of a scan into a figure; a new run begins it anew.

    Parameters
    ----------
    figure : Figure
        Of a window, or of none.
    """

    def __init__(self, figure: Figure) -> None:
        self._figure = figure
        self._head: ScanHead | None = None
        self._drawn_points = -1
        self._arranged = False

    def draw(self, view: ScanView) -> None:
        """Show a view; the caller has the canvas drawn."""
        if view.head is None:
            self._figure.suptitle("waiting for a scan")
            return
        if view.head != self._head:
            self._begin(view.head)
        elif self._arranged:  # takes most of the time of a drawing, and changes nothing any more
            self._figure.set_layout_engine("none")
        self._arranged = view.picture is not None and view.progress.count > 0
        if view.picture is not None:
            self._frame.draw(view.picture)
            self._probabilities.draw(view.picture)
        if view.progress.count != self._drawn_points:
            self._drawn_points = view.progress.count
            points = list(view.points)
            self._labels.draw(points)
            self._confidence.draw(points)
        self._footer.set_text(footer(view))

    def arrange(self) -> None:
        """Have everything arranged anew with the next drawing, for another size of the window."""
        if self._head is not None:
            self._figure.set_layout_engine("constrained")
            self._arranged = False

    def _begin(self, head: ScanHead) -> None:
        self._head, self._drawn_points = head, -1
        figure = self._figure
        figure.clear()
        figure.set_layout_engine("constrained")
        figure.suptitle(head.title, fontsize=12)
        ((left, right),) = figure.subfigures(1, 2, squeeze=False, width_ratios=[1, 1.4])
        axes = right.subplot_mosaic(
            [["probabilities", "probabilities"], ["labels", "confidence"]], height_ratios=[1, 1.35]
        )
        classes = head.classes or (0, 1)
        self._frame = FramePanel(left.subplots())
        self._probabilities = ProbabilityPanel(axes["probabilities"], head.classes)
        numbers = float(min(classes)), float(max(classes))
        self._labels = CoursePanel(axes["labels"], head.course, "disk number", numbers)
        self._confidence = CoursePanel(axes["confidence"], head.course, "confidence", (0.0, 1.0))
        self._footer = figure.supxlabel("", fontsize=9)


def footer(view: ScanView) -> str:
    """Say what the pictures do not: counts, flags, rate, what waits, how late it is, and the model."""
    points, progress = list(view.points), view.progress
    statuses = Counter(point.status for point in points)
    counts = ", ".join(f"{statuses[status]} {status}" for status in Status if statuses[status])
    parts = [f"{view.progress.count} frames" + (f": {counts}" if counts else "")]
    if view.progress.count > len(points):
        parts[0] += f" (of the last {len(points)})"
    flags = Counter(flag for point in points for flag in split_flags(point.flags))
    if flags:
        told = ", ".join(f"{count} {flag.replace('_', ' ')}" for flag, count in flags.most_common())
        parts.append(f"flags: {told}")
    if rate := frame_rate(points):
        parts.append(f"{rate:.1f} frames/s")
    waiting = f"{progress.waiting} waiting"
    if progress.waiting:
        waiting += f", the oldest {progress.waited:.1f} s"
    parts.append(waiting)
    if progress.latency:
        parts.append(f"label {_duration(progress.latency)} after its frame")
    second = [view.head.model] if view.head is not None and view.head.model else []
    if progress.ended:
        second.append(progress.ended)
    return "   |   ".join(parts) + ("\n" + "   |   ".join(second) if second else "")


def frame_rate(points: list[Point]) -> float:
    """Give the frames/s of the latest frames; 0 where there are too few."""
    if not points:
        return 0.0
    recent = [point.taken for point in points[-1000:] if point.taken > points[-1].taken - RATE_WINDOW]
    passed = max(recent, default=0.0) - min(recent, default=0.0)
    return (len(recent) - 1) / passed if passed > 0 else 0.0


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
