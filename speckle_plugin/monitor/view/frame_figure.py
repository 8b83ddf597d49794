"""The frame that is chosen: on a logarithmic or linear scale, with mask, beam centre, saliency and region."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from bokeh.events import SelectionGeometry
from bokeh.models import (
    BoxSelectTool,
    ColorBar,
    ColumnDataSource,
    CustomJSHover,
    DataRange1d,
    HoverTool,
    LinearColorMapper,
    LogColorMapper,
)
from bokeh.palettes import Greys256, Inferno256, Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray

from speckle_plugin.monitor.shown_frame import ShownFrame
from speckle_plugin.monitor.view.style import MARK, style_figure

__all__ = ["FrameFigure"]

MASK_PALETTE = ["#00000000", "#8aa1b3d0"]

HIGHEST_PERCENTILE = 99.5
"""Saliency above this percentile has the strongest colour, as in the pictures of `explain`."""


class FrameFigure:
    """The figure.

    Parameters
    ----------
    choose_region : callable
        Takes rows and columns, each the first and the one behind the last, of a region that was drawn.
    """

    def __init__(self, choose_region: Callable[[tuple[int, int], tuple[int, int]], object]) -> None:
        self._choose_region = choose_region
        self._frame: ShownFrame | None = None
        self._strength: NDArray[np.float32] | None = None
        self._limits: tuple[float, float] | None = None
        self._pixels, self._mask, self._overlay = (ColumnDataSource(_image()) for _ in range(3))
        self._center = ColumnDataSource({"x": [], "y": []})
        self._region = ColumnDataSource({"left": [], "right": [], "top": [], "bottom": []})
        self._logarithmic = LogColorMapper(palette=Viridis256, low=0.1, high=1.0, nan_color="#d9dee3")
        self._linear = LinearColorMapper(palette=Viridis256, low=0.1, high=1.0, nan_color="#d9dee3")
        self.figure = self._make()

    def _make(self) -> Any:
        made = figure(
            name="frame",
            tools="pan,wheel_zoom,box_zoom,reset,save",
            active_scroll=None,
            sizing_mode="stretch_both",
            match_aspect=True,
            x_range=DataRange1d(range_padding=0.0),
            y_range=DataRange1d(range_padding=0.0, flipped=True),
            x_axis_label="column (pixels)",
            y_axis_label="row (pixels)",
        )
        where = {"image": "image", "x": "x", "y": "y", "dw": "dw", "dh": "dh"}
        self._image = made.image(**where, color_mapper=self._logarithmic, source=self._pixels)
        mapper = LinearColorMapper(palette=MASK_PALETTE, low=0, high=1)
        self._mask_image = made.image(**where, color_mapper=mapper, source=self._mask)
        made.image_rgba(**where, source=self._overlay)
        made.scatter("x", "y", source=self._center, marker="cross", size=18, line_color=MARK, line_width=2)
        quad = {"fill_color": None, "line_color": MARK, "line_width": 2, "line_dash": "dashed"}
        made.quad("left", "right", "top", "bottom", source=self._region, **quad)
        whole = CustomJSHover(code="return Math.floor(value + 0.5).toString()")
        made.add_tools(
            HoverTool(
                renderers=[self._image],
                tooltips=[("row, column", "$y{custom}, $x{custom}"), ("value", "@image")],
                formatters={"$x": whole, "$y": whole},
            ),
            BoxSelectTool(description="Region of interest: its mean over the frames"),
        )
        made.on_event(SelectionGeometry, self._selected)
        self._bar = ColorBar(color_mapper=self._logarithmic, width=12, padding=4)
        made.add_layout(self._bar, "right")
        made.grid.visible = False
        style_figure(made)
        return made

    def show(self, frame: ShownFrame | None) -> None:
        """Draw a frame; with None, an empty figure."""
        self._frame, self._strength = frame, None
        if frame is None:
            for source in (self._pixels, self._mask, self._overlay):
                source.data = _image()
            self._center.data = {"x": [], "y": []}
            self.figure.title.text = "No frame is chosen"
            return
        self._pixels.data = _image(frame.pixels, frame)
        masked = frame.masked.any()
        self._mask.data = _image(frame.masked.astype(np.uint8), frame) if masked else _image()
        self._overlay.data = _image()
        center = frame.beam_center
        self._center.data = {"x": [center[1]], "y": [center[0]]} if center else {"x": [], "y": []}
        name = f"Frame {frame.frame_index}"
        if frame.averaged > 1:
            name = f"Mean of frames {frame.frame_index - frame.averaged + 1} to {frame.frame_index}"
        size = f"{frame.shape[0]} x {frame.shape[1]} pixels"
        if frame.factor > 1:
            size += f", means of {frame.factor} x {frame.factor} shown"
        self.figure.title.text = f"{name} ({size})"
        self._paint()

    def scale(self, logarithmic: bool, limits: tuple[float, float] | None) -> None:
        """Choose the scale, and the range; None for that of each frame."""
        self._limits = limits
        mapper = self._logarithmic if logarithmic else self._linear
        self._image.glyph.color_mapper = mapper
        self._bar.color_mapper = mapper
        from bokeh.models import BasicTicker, LogTicker

        self._bar.ticker = LogTicker() if logarithmic else BasicTicker()
        self._paint()

    def show_mask(self, visible: bool) -> None:
        """Show what is left out, or not."""
        self._mask_image.visible = visible

    def show_saliency(self, strength: NDArray[np.float32] | None) -> None:
        """Lay the saliency of the frame, thinned as the frame is, over it; None takes it away."""
        self._strength = strength
        if strength is None or self._frame is None:
            self._overlay.data = _image()
        else:
            self._overlay.data = _image(_colours(strength), self._frame)
        self._paint()

    def show_region(self, rows: tuple[int, int] | None, columns: tuple[int, int] | None) -> None:
        """Draw the region of interest; None takes it away."""
        if rows is None or columns is None:
            self._region.data = {"left": [], "right": [], "top": [], "bottom": []}
            return
        left, right, top, bottom = (value - 0.5 for value in (*columns, *rows))
        self._region.data = {"left": [left], "right": [right], "top": [top], "bottom": [bottom]}

    def _paint(self) -> None:
        palette = Viridis256 if self._strength is None else Greys256
        low, high = self._limits or (self._frame.limits if self._frame else (0.1, 1.0))
        self._linear.update(palette=palette, low=low if self._limits else 0.0, high=high)
        smallest = low if low > 0 else max(high * 1e-6, float(np.finfo(np.float32).tiny))
        self._logarithmic.update(palette=palette, low=smallest, high=max(high, smallest * 1.001))

    def _selected(self, event: Any) -> None:
        geometry = event.geometry
        if self._frame is None or not event.final or geometry.get("type") != "rect":
            return
        spans = []
        for axis, size in (("y", self._frame.shape[0]), ("x", self._frame.shape[1])):
            low, high = sorted((geometry[f"{axis}0"], geometry[f"{axis}1"]))
            first = int(np.clip(round(low), 0, size - 1))
            spans.append((first, int(np.clip(round(high) + 1, first + 1, size))))
        self._choose_region(spans[0], spans[1])


def _image(pixels: NDArray[Any] | None = None, frame: ShownFrame | None = None) -> dict[str, list[Any]]:
    """Give the data of an image in the coordinates of the frame's own pixels."""
    if pixels is None or frame is None:
        return {name: [] for name in ("image", "x", "y", "dw", "dh")}
    rows, columns = (n * frame.factor for n in pixels.shape)
    return {"image": [pixels], "x": [-0.5], "y": [-0.5], "dw": [columns], "dh": [rows]}


def _colours(strength: NDArray[np.float32]) -> NDArray[np.uint32]:
    """Give the colours of a saliency, the more opaque the stronger."""
    strongest = float(np.nanpercentile(strength, HIGHEST_PERCENTILE)) or float(np.nanmax(strength)) or 1.0
    relative = np.clip(np.nan_to_num(strength) / strongest, 0.0, 1.0)
    palette = np.array([[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in Inferno256], np.uint8)
    colours = np.empty((*strength.shape, 4), np.uint8)
    colours[..., :3] = palette[(relative * 255).astype(int)]
    colours[..., 3] = (np.sqrt(relative) * 0.85 * 255).astype(np.uint8)
    return np.ascontiguousarray(colours).view(np.uint32).reshape(strength.shape)
