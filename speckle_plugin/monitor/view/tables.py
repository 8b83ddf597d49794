"""The two tables of the page: the runs, and the frames of one run, each in pages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import panel as pn

from speckle_plugin.monitor.followed import RunState
from speckle_plugin.monitor.run_list import FILTERS, PAGE, RunPage, RunRow
from speckle_plugin.schema import Opinion, Status

__all__ = ["FrameTable", "RunTable", "ordered"]

ROWS = 8
"""Frames on a page."""

ORDERS = ("flagged first", "least certain first", "newest first", "in the order of frames")

LOOKS: dict[str, Any] = {
    "disabled": True,
    "show_index": False,
    "selectable": 1,
    "theme": "simple",
    "layout": "fit_columns",
    "sortable": False,
    "sizing_mode": "stretch_width",
    "stylesheets": [
        ".tabulator { font-size: 12px; } "
        ".tabulator-row { cursor: pointer; min-height: 26px !important; } "
        ".tabulator-cell { padding: 5px 4px !important; height: 27px !important; font-size: 12px; } "
        ".tabulator-header .tabulator-col-content { padding: 5px 4px !important; } "
        ".tabulator-col-title { font-size: 11px; padding-right: 0 !important; }"
    ],
}


WRAPPED = ".tabulator-cell { height: auto !important; white-space: normal !important; }"
"""Style of a table whose cells take as many lines as they need."""

RUN_WIDTHS = {"scan": "13%", "start": "17%", "plan": "31%", "frames": "19%", "lowest": "20%"}
"""Columns of the list of runs."""

SAMPLE_WIDTH = 40
"""Characters of a sample's name in the list of runs."""


class _Pages:
    """Two buttons and what stands between them."""

    def __init__(self, newer: str, older: str) -> None:
        self.number = 0
        looks = {"width": 36, "height": 28, "margin": (2, 2)}
        self._back = pn.widgets.Button(name="‹", description=newer, **looks)
        self._on = pn.widgets.Button(name="›", description=older, **looks)
        self._text = pn.pane.HTML("", margin=(7, 6))
        self.row = pn.Row(self._back, self._text, self._on, margin=0)
        self.changed: Callable[[], object] = lambda: None
        self._back.on_click(lambda event: self._turn(-1))
        self._on.on_click(lambda event: self._turn(1))

    def _turn(self, step: int) -> None:
        self.number = max(0, self.number + step)
        self.changed()

    def tell(self, number: int, size: int, total: int, what: str) -> None:
        self.number = number
        first, last = number * size + 1, min(total, (number + 1) * size)
        self._text.object = f"{first}–{last} of {total} {what}" if total else f"no {what}"
        self._back.disabled, self._on.disabled = number == 0, last >= total


class RunTable:
    """The runs, the newest first.

    Parameters
    ----------
    choose : callable
        Takes the uid of the run that was clicked.
    """

    def __init__(self, choose: Callable[[str], object]) -> None:
        self._choose = choose
        self._page: RunPage | None = None
        self._chosen = ""
        self._pages = _Pages("newer runs", "older runs")
        self.narrowed = pn.widgets.Select(options=list(FILTERS), margin=(2, 2), sizing_mode="stretch_width")
        self.narrowed.param.watch(lambda event: setattr(self._pages, "number", 0), "value")
        self._table = pn.widgets.Tabulator(
            pd.DataFrame(columns=list(RUN_WIDTHS)),
            widths=RUN_WIDTHS,
            formatters={"plan": {"type": "textarea"}, "start": {"type": "textarea"}},
            text_align={"frames": "right", "lowest": "right", "scan": "right"},
            header_tooltips={
                "frames": "results so far; * marks runs with flagged frames, + runs in progress",
                "lowest": "the lowest confidence of the run's labels",
            },
            **LOOKS | {"stylesheets": [*LOOKS["stylesheets"], WRAPPED]},
        )
        self._table.on_click(self._clicked)
        self.panel = pn.Column(self.narrowed, self._table, self._pages.row, sizing_mode="stretch_width")

    @property
    def wanted(self) -> tuple[int, str]:
        """Which page is to be read: its number, and what the list is narrowed to."""
        return self._pages.number, str(self.narrowed.value)

    def show(self, page: RunPage, chosen: str) -> None:
        """Draw a page, with one run marked."""
        if page != self._page:
            self._page = page
            self._table.value = pd.DataFrame([_run_cells(row) for row in page.rows], columns=list(RUN_WIDTHS))
            self._pages.tell(page.number, PAGE, page.total, "runs")
            self._chosen = ""
        if chosen != self._chosen:
            self._chosen = chosen
            self._table.selection = [i for i, row in enumerate(page.rows) if row.uid == chosen]

    def _clicked(self, event: Any) -> None:
        if self._page is not None and event.row < len(self._page.rows):
            self._choose(self._page.rows[event.row].uid)


def _run_cells(row: RunRow) -> tuple[str, str, str, str, str]:
    started = time.localtime(row.time)
    today = time.strftime("%Y-%m-%d", started) == time.strftime("%Y-%m-%d")
    frames = (
        f"{row.frames}{'*' if row.counts.get(Status.FLAGGED) else ''}{'+' if row.state == 'open' else ''}"
    )
    return (
        "" if row.scan_id is None else str(row.scan_id),
        time.strftime("%H:%M" if today else "%b %d %H:%M", started),
        _plan_and_sample(row).replace("_", "_\u200b"),  # where the line may break
        frames,
        "" if row.min_confidence is None else f"{row.min_confidence:.0%}",
    )


def _plan_and_sample(row: RunRow) -> str:
    sample = row.sample if len(row.sample) <= SAMPLE_WIDTH else f"{row.sample[: SAMPLE_WIDTH - 1]}…"
    return ", ".join(filter(None, (row.plan, sample)))


class FrameTable:
    """The frames of a run, those to look at first.

    Parameters
    ----------
    choose : callable
        Takes image key and index of the frame that was clicked.
    """

    def __init__(self, choose: Callable[[str, int], object]) -> None:
        self._choose = choose
        self._state: RunState | None = None
        self._rows: list[tuple[str, int]] = []
        self._pages = _Pages("page before", "next page")
        self._pages.changed = self._draw
        self.order = pn.widgets.Select(options=list(ORDERS), width=180, margin=(2, 2))
        self.order.param.watch(lambda event: self._from_the_first(), "value")
        widths = {"frame": 58, "disks": 52, "confidence": 84, "time": 76}
        self._table = pn.widgets.Tabulator(pd.DataFrame({"frame": []}), widths=widths, **LOOKS)
        self._table.on_click(self._clicked)
        self.panel = pn.Column(
            pn.Row(self.order, self._pages.row, sizing_mode="stretch_width"),
            self._table,
            sizing_mode="stretch_width",
        )

    def show(self, state: RunState) -> None:
        """Draw the frames of a run."""
        if self._state is not None and state.uid != self._state.uid:
            self._pages.number = 0
        self._state = state
        self._draw()

    def clear(self) -> None:
        """Draw no frames."""
        self._state, self._rows = None, []
        self._table.value = pd.DataFrame({"frame": []})
        self._pages.number = 0
        self._pages.tell(0, ROWS, 0, "frames")

    def _from_the_first(self) -> None:
        self._pages.number = 0
        self._draw()

    def _draw(self) -> None:
        if self._state is None:
            return
        frames = ordered(self._state, str(self.order.value))
        number = max(0, min(self._pages.number, math.ceil(len(frames) / ROWS) - 1))
        shown = frames.iloc[number * ROWS : (number + 1) * ROWS]
        self._rows = list(zip(shown["image_key"].map(str), shown["frame_index"].map(int), strict=True))
        cells = _frame_cells(shown, self._state)
        if not cells.equals(self._table.value):
            self._table.value = cells
            self._table.selection = []
        self._pages.tell(number, ROWS, len(frames), "frames")

    def _clicked(self, event: Any) -> None:
        if event.row < len(self._rows):
            self._choose(*self._rows[event.row])


def ordered(state: RunState, order: str) -> pd.DataFrame:
    """Give the frames of a run in one of the :data:`ORDERS`.

    First of the flagged come those without a label and those that the second opinion contradicts, then the
    least certain.
    """
    table = state.table
    if order == "newest first":
        return table.iloc[::-1]
    if order == "in the order of frames" or table.empty:
        return table.sort_values(["image_key", "frame_index"], kind="stable")
    classified = (table["status"] == Status.CLASSIFIED).to_numpy()
    confidence = np.where(classified, table["confidence"].to_numpy(float), np.inf)
    if order == "least certain first":
        return table.iloc[np.argsort(confidence, kind="stable")]
    flagged = (table["flags"].fillna("") != "").to_numpy()
    other = (table["structure_disk_number"] != table["disk_number"]).fillna(False).to_numpy(bool)
    disputed = classified & (table["certificate"] == Opinion.SOLVED).to_numpy() & other
    worst = (table["status"] == Status.FLAGGED).to_numpy() | disputed
    return table.iloc[np.lexsort((confidence, ~flagged, ~worst))]


def _frame_cells(frames: pd.DataFrame, state: RunState) -> pd.DataFrame:
    classified = frames["status"] == Status.CLASSIFIED
    cells: dict[str, Any] = {"frame": frames["frame_index"].astype(str)}
    if len(state.image_keys) > 1:
        cells["detector"] = frames["image_key"]
    cells["disks"] = frames["disk_number"].where(classified, 0).map(lambda n: str(n) if n else "–")
    cells["confidence"] = [
        f"{value:.1%}" if sure else str(status)
        for value, sure, status in zip(frames["confidence"], classified, frames["status"], strict=True)
    ]
    cells["flags"] = frames["flags"].fillna("").str.replace(",", ", ").str.replace("_", " ")
    if state.has_structures:
        cells["second opinion"] = [
            f"{certificate.replace('_', ' ')}{'' if pd.isna(number) else f': {number}'}"
            for certificate, number in zip(
                frames["certificate"], frames["structure_disk_number"], strict=True
            )
        ]
    for name in dict.fromkeys((state.layout.x, state.layout.y)):
        if name and name != "time" and name in frames:
            cells[name] = frames[name].map(lambda value: f"{value:.4g}" if np.isfinite(value) else "")
    cells["time"] = [
        time.strftime("%H:%M:%S", time.localtime(value)) if np.isfinite(value) else ""
        for value in frames["time"]
    ]
    return pd.DataFrame(cells).reset_index(drop=True)
