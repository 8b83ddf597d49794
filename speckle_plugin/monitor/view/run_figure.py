"""The frames of a run where they were taken: a map, a line, or in the order of time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from bokeh.events import Tap
from bokeh.models import (
    ColumnDataSource,
    DataRange1d,
    DatetimeTickFormatter,
    HoverTool,
    LinearColorMapper,
    Range1d,
)
from bokeh.models.annotations import ColorBar
from bokeh.palettes import Cividis256, Viridis256
from bokeh.plotting import figure
from numpy.typing import NDArray
from pandas import DataFrame

from speckle_plugin.monitor.followed import WAITING, RunState
from speckle_plugin.monitor.layout import Layout
from speckle_plugin.monitor.view.style import FLAGGED, GREY, MARK, style_figure
from speckle_plugin.schema import CLASSES, Status

__all__ = ["COLOURINGS", "MOST_SHOWN", "RunFigure"]

Colouring = Literal["disk number", "confidence"]
COLOURINGS: tuple[Colouring, ...] = ("disk number", "confidence")

MOST_SHOWN = 20_000
"""Frames that are drawn, the newest ones: a browser has to draw them at each change."""

NO_LABEL = 0.0
"""Where frames without a label stand along the axis of disk numbers."""

TIPS = """
<div style="font-size: 12px; padding: 2px 4px">
<b>frame @index</b> · @disks<br>@told</div>
"""


class RunFigure:
    """The figure; a click chooses the nearest frame.

    Parameters
    ----------
    choose : callable
        Takes image key and index of the frame that was clicked.
    """

    def __init__(self, choose: Callable[[str, int], object]) -> None:
        self._choose = choose
        self._layout: Layout | None = None
        self._colouring: Colouring = "disk number"
        self._drawn: dict[str, NDArray[Any]] = {}
        self._labelled, self._waiting = ColumnDataSource(_columns()), ColumnDataSource(_columns())
        self._chosen = ColumnDataSource({"x": [], "y": []})
        self._mapper = LinearColorMapper(palette=Viridis256, low=2, high=20, nan_color=GREY)
        self.figure = self._make()

    def _make(self) -> Any:
        made = figure(
            name="run",
            tools="pan,wheel_zoom,box_zoom,reset,save",
            active_scroll=None,
            sizing_mode="stretch_both",
            x_range=DataRange1d(range_padding=0.04),
            y_range=DataRange1d(range_padding=0.06),
        )
        self._bar = ColorBar(color_mapper=self._mapper, width=12, padding=4)
        made.add_layout(self._bar, "right")
        # Both ways to draw are there, one is seen: axes and tools stay when another run is chosen.
        self._tiles, self._points = [], []
        for source in (self._labelled, self._waiting):
            looks: dict[str, Any] = {
                "fill_color": {"field": "value", "transform": self._mapper},
                "line_color": "edge",
                "line_width": "line",
                "source": source,
            }
            self._tiles.append(made.rect("x", "y", width=1.0, height=1.0, **looks))
            self._points.append(made.scatter("x", "y", size=9, **looks))
        mark: dict[str, Any] = {
            "fill_color": None,
            "line_color": MARK,
            "line_width": 2.5,
            "source": self._chosen,
        }
        made.scatter("x", "y", size=17, marker="circle", **mark)
        made.add_tools(
            HoverTool(renderers=[*self._tiles, *self._points], tooltips=TIPS, point_policy="follow_mouse")
        )
        made.on_event(Tap, self._tapped)
        style_figure(made)
        return made

    def colour_by(self, colouring: Colouring) -> None:
        """Choose what the colours of a map say, from the next time that it is drawn."""
        self._colouring = colouring

    def clear(self) -> None:
        """Draw nothing: another run was chosen, and is still being read."""
        self._labelled.data = self._waiting.data = _columns()
        self._chosen.data = {"x": [], "y": []}
        self._drawn = {}
        self.figure.title.text = ""

    def show(self, state: RunState, table: DataFrame) -> None:
        """Draw a run as it is now, with the frames of a table."""
        if state.layout != self._layout:
            self._lay_out(state.layout)
        self._scale(state)
        waiting = (table["status"] == WAITING).to_numpy()
        self._stream(self._points_of(table[~waiting].iloc[-MOST_SHOWN:], state.layout))
        self._waiting.data = self._points_of(table[waiting].iloc[-MOST_SHOWN:], state.layout)
        left = len(table) - MOST_SHOWN
        title = {"map": "Map", "line": "Scan", "time": "Frames in time"}[state.layout.kind]
        title += f", colour: {self._shown_colouring}"
        self.figure.title.text = (
            title if left <= 0 else f"{title}: the newest {MOST_SHOWN} of {len(table)} frames"
        )

    def choose(self, image_key: str, frame_index: int) -> None:
        """Mark a frame."""
        for source in (self._labelled, self._waiting):
            data = source.data
            found = np.flatnonzero(
                (np.asarray(data["index"]) == frame_index) & (np.asarray(data["key"]) == image_key)
            )
            if len(found):
                self._chosen.data = {name: [float(np.asarray(data[name])[found[-1]])] for name in ("x", "y")}
                return
        self._chosen.data = {"x": [], "y": []}

    def _lay_out(self, layout: Layout) -> None:
        before, self._layout = self._layout, layout
        is_map = layout.kind == "map"
        for tiles, points in zip(self._tiles, self._points, strict=True):
            tiles.visible, points.visible = is_map, not is_map
            tiles.glyph.width, tiles.glyph.height = layout.step
        made = self.figure
        made.match_aspect = is_map and 0.2 < layout.step[0] / layout.step[1] < 5
        if before is not None and replace(before, step=layout.step) == layout:
            return  # the same axes: the steps of a map are found as it grows
        made.xaxis.axis_label = layout.x_label
        made.yaxis.axis_label = layout.y_label or "disk number (0: no label)"
        if layout.kind == "time":
            made.xaxis.formatter = DatetimeTickFormatter(
                seconds="%H:%M:%S", minsec="%H:%M:%S", minutes="%H:%M", milliseconds="%H:%M:%S.%3N"
            )
        else:
            from bokeh.models import BasicTickFormatter

            made.xaxis.formatter = BasicTickFormatter()
        # New ones, which follow the data though somebody zoomed into another run before.
        made.x_range = DataRange1d(range_padding=0.04)
        made.y_range = DataRange1d(range_padding=0.06) if is_map else Range1d(start=NO_LABEL - 1.0, end=21.0)
        # Not emptied before: each change is sent by itself, and people would see the empty figure.
        self._drawn = {}

    def _scale(self, state: RunState) -> None:
        # On a line the position along the axis tells the number.
        colouring = self._colouring if state.layout.kind == "map" else "confidence"
        classes = [int(n) for n in state.model.get(CLASSES) or range(2, 21)]
        if colouring == "confidence":
            looks = {"palette": Cividis256, "low": 0.0, "high": 1.0}
        else:
            looks = {"palette": Viridis256, "low": float(min(classes)), "high": float(max(classes))}
        if state.layout.kind != "map":
            self.figure.y_range.end = float(max(classes)) + 1.0
        self._mapper.update(**looks)
        self._shown_colouring = colouring

    def _points_of(self, table: DataFrame, layout: Layout) -> dict[str, NDArray[Any]]:
        labelled = (table["status"] == Status.CLASSIFIED).to_numpy()
        disks, confidence = table["disk_number"].to_numpy(float), table["confidence"].to_numpy(float)
        value = confidence if self._shown_colouring == "confidence" else disks
        flagged = (table["flags"].fillna("") != "").to_numpy()
        waiting = (table["status"] == WAITING).to_numpy()
        x = table[layout.x].to_numpy(float) if layout.x in table else np.full(len(table), np.nan)
        if layout.kind == "time":
            # Bokeh has milliseconds of UTC; people read the clock on the wall.
            import time

            x = (x + time.localtime().tm_gmtoff) * 1000.0
        y = table[layout.y].to_numpy(float) if layout.kind == "map" else np.where(labelled, disks, NO_LABEL)
        told = [
            f"{flags or status}" if not sure else f"confidence {p:.1%}{', ' + flags if flags else ''}"
            for sure, p, flags, status in zip(
                labelled, confidence, table["flags"].fillna(""), table["status"], strict=True
            )
        ]
        return {
            "x": x,
            "y": y,
            "value": np.where(labelled, value, np.nan),
            "edge": np.where(flagged, FLAGGED, np.where(waiting, "#7b8794", "rgba(0,0,0,0)")),
            "line": np.where(flagged, 2.0, 1.0),
            "key": table["image_key"].to_numpy(str),
            "index": table["frame_index"].to_numpy(int),
            "disks": np.array(
                [f"{n:.0f} disks" if sure else "no label" for n, sure in zip(disks, labelled, strict=True)]
            ),
            "told": np.array(told),
        }

    def _stream(self, data: dict[str, NDArray[Any]]) -> None:
        """Send what is new, where the rest is as it was."""
        before, self._drawn = self._drawn, data
        n = len(before.get("x", ()))
        names = ("x", "y", "value", "index", "edge")
        if n and len(data["x"]) >= n and all(_alike(before[name], data[name][:n]) for name in names):
            if len(data["x"]) > n:
                self._labelled.stream({name: values[n:] for name, values in data.items()})
        else:
            self._labelled.data = data

    def _tapped(self, event: Any) -> None:
        x, y = event.x, event.y
        found: list[tuple[float, str, int]] = []
        for source in (self._labelled, self._waiting):
            xs, ys = np.asarray(source.data["x"], float), np.asarray(source.data["y"], float)
            if not len(xs) or x is None or y is None:
                continue
            every = np.concatenate([xs, [x]]), np.concatenate([ys, [y]])
            spans = [float(np.nanmax(one) - np.nanmin(one)) or 1.0 for one in every]
            distance = ((xs - x) / spans[0]) ** 2 + ((ys - y) / spans[1]) ** 2
            if np.isfinite(distance).any():
                nearest = int(np.nanargmin(distance))
                key, index = (
                    np.asarray(source.data["key"])[nearest],
                    np.asarray(source.data["index"])[nearest],
                )
                found.append((float(distance[nearest]), str(key), int(index)))
        if found:
            _, key, index = min(found)
            self._choose(key, index)


def _columns() -> dict[str, list[Any]]:
    return {name: [] for name in ("x", "y", "value", "edge", "line", "key", "index", "disks", "told")}


def _alike(before: NDArray[Any], now: NDArray[Any]) -> bool:
    if before.dtype.kind == "f":
        return bool(np.array_equal(before, now, equal_nan=True))
    return bool(np.array_equal(before, now))
