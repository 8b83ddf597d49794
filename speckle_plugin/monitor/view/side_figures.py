"""The small figures beside a frame: its probabilities, a region's mean over the frames, the solved sample."""

from __future__ import annotations

from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource, DataRange1d, HoverTool, Range1d
from bokeh.models.annotations import Span
from bokeh.plotting import figure
from numpy.typing import NDArray

from speckle_plugin.monitor.shown_frame import ShownFrame
from speckle_plugin.monitor.view.style import GREY, MARK, NOT_SOLVED, SOLVED, style_figure

__all__ = ["ProbabilityFigure", "RegionFigure", "SampleFigure"]


class ProbabilityFigure:
    """The network's probability of each disk number."""

    def __init__(self) -> None:
        self._source = ColumnDataSource({"x": [], "top": [], "color": []})
        self.figure: Any = figure(
            tools="",
            toolbar_location=None,
            sizing_mode="stretch_both",
            y_range=Range1d(start=0, end=1),
            x_axis_label="disk number",
            y_axis_label="probability",
            title="Probabilities",
        )
        bars = self.figure.vbar("x", top="top", width=0.8, color="color", source=self._source)
        self.figure.add_tools(HoverTool(renderers=[bars], tooltips="@x disks: @top{0.0 %}"))
        self.figure.xgrid.visible = False
        style_figure(self.figure, autohide=True)

    def show(self, frame: ShownFrame | None) -> None:
        """Draw those of a frame."""
        told = frame.probabilities if frame is not None else {}
        numbers, values = list(told), [float(value) for value in told.values()]
        if not np.nansum(values):
            numbers, values = [], []
        largest = max(values, default=0.0)
        colors = [SOLVED if value == largest else GREY for value in values]
        self._source.data = {"x": numbers, "top": values, "color": colors}
        none = "" if numbers or frame is None else ": none, the frame has no label"
        self.figure.title.text = f"Probabilities{none}"


class RegionFigure:
    """The mean of the region of interest, frame by frame."""

    def __init__(self) -> None:
        self._source = ColumnDataSource({"x": [], "y": []})
        self._now = Span(dimension="height", line_color=MARK, line_width=2, visible=False)
        self.figure: Any = figure(
            tools="pan,box_zoom,reset,save",
            sizing_mode="stretch_both",
            x_range=DataRange1d(range_padding=0.03),
            x_axis_label="frame",
            y_axis_label="mean intensity",
        )
        self.figure.line("x", "y", color=SOLVED, line_width=1.2, source=self._source)
        points = self.figure.scatter("x", "y", color=SOLVED, size=5, source=self._source)
        self.figure.add_tools(HoverTool(renderers=[points], tooltips="frame @x: @y{0.000 a}"))
        self.figure.add_layout(self._now)
        style_figure(self.figure, autohide=True)
        self.show(None, None)

    def show(
        self,
        region: tuple[tuple[int, int], tuple[int, int]] | None,
        curve: tuple[NDArray[np.int64], NDArray[np.float64]] | None,
    ) -> None:
        """Draw the curve of a region of rows and columns."""
        if region is None or curve is None:
            self._source.data = {"x": [], "y": []}
            self.figure.title.text = "Region of interest: none drawn"
            return
        (top, bottom), (left, right) = region
        self._source.data = {"x": curve[0], "y": curve[1]}
        self.figure.title.text = f"Mean of rows {top} to {bottom - 1}, columns {left} to {right - 1}"

    def choose(self, frame_index: int | None) -> None:
        """Mark a frame."""
        self._now.visible = frame_index is not None
        if frame_index is not None:
            self._now.location = frame_index


class SampleFigure:
    """The disks of the second opinion, drawn as the frame is: x, which goes with the rows, downwards."""

    def __init__(self) -> None:
        self._source = ColumnDataSource({"x": [], "y": [], "r": [], "number": []})
        self.figure: Any = figure(
            tools="pan,wheel_zoom,reset,save",
            active_scroll=None,
            sizing_mode="stretch_both",
            match_aspect=True,
            x_range=DataRange1d(range_padding=0.1),
            y_range=DataRange1d(range_padding=0.1, flipped=True),
            x_axis_label="y, along the columns (1 / unit of k)",
            y_axis_label="x, along the rows",
        )
        self._disks = self.figure.circle(
            "x", "y", radius="r", fill_alpha=0.75, line_color=None, source=self._source
        )
        tips = "disk @number: radius @r{0.00}, x @y{0.0}, y @x{0.0}"
        self.figure.add_tools(HoverTool(renderers=[self._disks], tooltips=tips))
        style_figure(self.figure, autohide=True)

    def show(self, frame: ShownFrame | None) -> None:
        """Draw the sample of a frame, if there is one."""
        structure = frame.structure if frame is not None else None
        if structure is None or frame is None:
            self._source.data = {"x": [], "y": [], "r": [], "number": []}
            left = "not solved yet" if frame is not None and frame.opinion else "no second opinion"
            self.figure.title.text = f"Sample: {left}"
            return
        self._source.data = {
            "x": structure.y,
            "y": structure.x,
            "r": structure.r,
            "number": np.arange(1, structure.disk_number + 1),
        }
        self._disks.glyph.fill_color = SOLVED if structure.solved else NOT_SOLVED
        certificate = structure.certificate.replace("_", " ")
        self.figure.title.text = f"Sample: {structure.disk_number} disks, {certificate}"
