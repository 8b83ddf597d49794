"""One page, as one browser has it open: what is chosen, and what of it is drawn."""

from __future__ import annotations

import logging
import math
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from typing import Any
from urllib.parse import urlencode

import panel as pn

from speckle_plugin.monitor.connection import one_line
from speckle_plugin.monitor.explaining import Saliency
from speckle_plugin.monitor.followed import RunState
from speckle_plugin.monitor.model import Monitor
from speckle_plugin.monitor.region_means import RegionMeans
from speckle_plugin.monitor.shown_frame import ShownFrame, thin
from speckle_plugin.monitor.view.controls import Controls
from speckle_plugin.monitor.view.frame_figure import FrameFigure
from speckle_plugin.monitor.view.run_figure import RunFigure
from speckle_plugin.monitor.view.side_figures import ProbabilityFigure, RegionFigure, SampleFigure
from speckle_plugin.monitor.view.style import CARD
from speckle_plugin.monitor.view.tables import FrameTable, RunTable
from speckle_plugin.monitor.view.words import frame_line, run_head, status_line
from speckle_plugin.schema import Status

__all__ = ["Page"]

logger = logging.getLogger(__name__)

TICK = 300
"""Milliseconds between looking at what is new: a page draws three times a second at most, however fast frames
come."""

CLOCK = 3
"""Ticks between renewing what changes with the clock."""


class Page:
    """A page.

    Parameters
    ----------
    monitor : Monitor
    document : bokeh.document.Document
        Of this browser's session.

    Attributes
    ----------
    panel : panel.viewable.Viewable
    """

    def __init__(self, monitor: Monitor, document: Any) -> None:
        self._monitor, self._document, self._location = monitor, document, pn.state.location
        self._uid, self._asked_uid = "", ""
        self._version = -1
        self._frame: tuple[str, int] | None = None
        self._shown: ShownFrame | None = None
        self._wanted: tuple[str, str, int, int] | None = None
        self._reading: Future[ShownFrame] | None = None
        self._explaining: Future[Saliency] | None = None
        self._region: RegionMeans | None = None
        self._region_work: Future[bool] | None = None
        self._ticks, self._failed = 0, ""
        self._make()
        self._read_address()
        document.add_periodic_callback(self._tick, TICK)
        self._draw_or_say()

    # What it looks like

    def _make(self) -> None:
        self._runs = RunTable(self._choose_run)
        self._frames = FrameTable(self._choose_frame)
        self._run_figure = RunFigure(self._choose_frame)
        self._frame_figure = FrameFigure(self._choose_region)
        self._probabilities, self._sample = ProbabilityFigure(), SampleFigure()
        self._region_figure = RegionFigure()
        self._controls = Controls(self)
        self._banner = pn.pane.HTML("", visible=False, sizing_mode="stretch_width", margin=(0, 0, 8, 0))
        self._head = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self._status = pn.pane.HTML("", sizing_mode="stretch_width", margin=0)
        self._line = pn.pane.HTML("", sizing_mode="stretch_width", margin=(4, 0))
        tall = {**CARD, "height": "clamp(380px, 50vh, 780px)"}
        low = {**CARD, "height": "250px"}
        controls = self._controls
        run_side = pn.Column(
            controls.of_run, _pane(self._run_figure), styles=tall, sizing_mode="stretch_width"
        )
        frame_side = pn.Column(
            controls.of_frame, _pane(self._frame_figure), styles=tall, sizing_mode="stretch_width"
        )
        side = {"styles": low, "sizing_mode": "stretch_width", "margin": (0, 4)}
        below = [
            pn.Column(_pane(one), **side) for one in (self._probabilities, self._region_figure, self._sample)
        ]
        self._sample_card = below[-1]
        self._sample_card.visible = False
        main = pn.Column(
            pn.Column(self._head, self._status, styles=CARD, sizing_mode="stretch_width", margin=(0, 4)),
            pn.Row(
                _with_margin(run_side), _with_margin(frame_side), sizing_mode="stretch_width", margin=(8, 0)
            ),
            pn.Row(*below, sizing_mode="stretch_width", margin=(0, 0, 8, 0)),
            pn.Column(
                self._line, self._frames.panel, styles=CARD, sizing_mode="stretch_width", margin=(0, 4)
            ),
            sizing_mode="stretch_width",
            margin=0,
        )
        list_of_runs = pn.Column(
            pn.pane.HTML("<b style='font-size: 15px'>Speckle monitor</b>", margin=(2, 2, 6, 2)),
            self._runs.panel,
            styles={**CARD, "flex": "0 0 auto"},
            width=330,
            margin=(0, 4, 0, 0),
        )
        self.panel = pn.Column(
            self._banner,
            pn.Row(list_of_runs, main, sizing_mode="stretch_width", margin=0),
            sizing_mode="stretch_width",
            margin=8,
        )

    def _read_address(self) -> None:
        """Take run and frame from the address: a page that is loaded again shows the same."""
        arguments = {name: values[0].decode() for name, values in pn.state.session_args.items() if values}
        self._uid = arguments.get("run", "")
        key, _, index = arguments.get("frame", "").rpartition(":")
        if self._uid and key and index.isdecimal():
            self._choose_frame(key, int(index))

    def _write_address(self) -> None:
        location = self._location
        if location is None:
            return
        query = {name: value for name, value in location.query_params.items() if name not in ("run", "frame")}
        if self._uid:
            query["run"] = self._uid
        if self._controls.hold.value and self._frame is not None:
            query["frame"] = f"{self._frame[0]}:{self._frame[1]}"
        location.search = f"?{urlencode(query)}"

    # What is chosen

    def _choose_run(self, uid: str) -> None:
        if uid == self._uid:
            return
        with self._as_one_message():
            self._begin(uid)
            self._draw_or_say()

    def _begin(self, uid: str) -> None:
        """Take away what is seen of the run before."""
        self._uid, self._version = uid, -1
        self._frame = self._region = None
        self._region_figure.show(None, None)
        self._frame_figure.show_region(None, None)
        self._controls.hold.value = False
        self._show_frame(None)
        self._run_figure.clear()
        self._frames.clear()
        self._head.object = self._status.object = ""
        self._write_address()

    def _choose_frame(self, image_key: str, frame_index: int) -> None:
        """Show a frame that was clicked, and stay there."""
        self._frame = (image_key, frame_index)
        self._controls.hold.value = True
        self._write_address()
        self._want_frame()

    def step(self, by: int) -> None:
        """Go to a frame before or behind."""
        state = self._state
        if self._frame is None or state is None:
            return
        key, index = self._frame
        last = int((state.table["image_key"] == key).sum()) - 1
        self._choose_frame(key, max(0, min(index + by, last)))

    def held(self) -> None:
        """Follow the newest frame again, or stay."""
        self._write_address()
        if not self._controls.hold.value:
            self._follow_newest()

    def averaged(self) -> None:
        """Average over other frames."""
        self._want_frame()

    def recolour(self) -> None:
        """Have the map say something else, or of another detector."""
        self._run_figure.colour_by(self._controls.colouring.value)
        if self._state is not None:
            self._run_figure.show(self._state, self._controls.of_detector(self._state.table))
        self._mark()

    def rescale(self) -> None:
        """Draw on another scale."""
        self._frame_figure.scale(self._controls.logarithmic, self._controls.limits)

    def overlay(self) -> None:
        """Show or hide the mask and the saliency."""
        self._frame_figure.show_mask(self._controls.mask.value)
        if self._controls.saliency.value:
            self._explain()
        else:
            self._frame_figure.show_saliency(None)
            self._controls.say("")

    def _choose_region(self, rows: tuple[int, int], columns: tuple[int, int]) -> None:
        if self._frame is None:
            return
        self._region = RegionMeans(self._frame[0], rows, columns)
        self._frame_figure.show_region(rows, columns)
        self._region_figure.show((rows, columns), self._region.curve())
        self._region_work = None

    # What is drawn

    @property
    def _state(self) -> RunState | None:
        return self._monitor.follow(self._uid).state if self._uid else None

    def _as_one_message(self) -> AbstractContextManager[None]:
        """Have the browser get all changes of a block at once.

        Else people see the words of one run above the figure of another, for as long as a busy browser takes
        from the one to the other. Panel sends such a message at once, though the page may still be being
        fetched: it would be lost.
        """
        return pn.io.hold(self._document) if pn.state.loaded else nullcontext()

    def _tick(self) -> None:
        with self._as_one_message():
            self._draw_or_say()

    def _draw_or_say(self) -> None:
        try:
            self._draw()
        except Exception as error:  # never a traceback on the page, and the next tick tries again
            if self._failed != one_line(error):
                self._failed = one_line(error)
                logger.exception("the page can't be drawn")
            self._say(f"This page can't be drawn: {one_line(error)}")

    def _draw(self) -> None:
        self._ticks += 1
        page = self._monitor.run_page(*self._runs.wanted)
        if page is not None:
            if not self._uid and page.rows:
                self._choose_run(page.rows[0].uid)
            self._runs.show(page, self._uid)
        state = self._state
        problem = self._monitor.connection.problem or (
            self._monitor.problem_of(self._uid) if self._uid else ""
        )
        self._say(problem)
        if state is not None:
            if state.version != self._version:
                self._draw_run(state)
                self._version = state.version
            if self._ticks % CLOCK == 0:
                self._status.object = status_line(state)
            self._follow_newest()
            self._draw_region(state)
        elif self._version < 0:  # else the run is being read again, since this page was late: it stays
            waiting = (
                "" if problem else ("Loading…" if self._uid or page is None else "There are no runs yet.")
            )
            self._head.object = f"<span style='font-size: 15px'>{waiting}</span>"
        self._take_frame()
        self._take_saliency()

    def _draw_run(self, state: RunState) -> None:
        self._head.object = run_head(state, self._monitor.tiled_page(state.uid))
        self._status.object = status_line(state)
        self._controls.of_layout(state.layout)
        self._controls.offer_detectors(state.image_keys)
        self._run_figure.show(state, self._controls.of_detector(state.table))
        self._frames.show(state)
        self._sample_card.visible = state.has_structures
        self._mark()
        if self._shown is not None:
            self._line.object = frame_line(state, self._shown)
        if self._shown is not None and not self._shown.probabilities and state.is_open:
            self._want_frame()  # it may have a label by now

    def _follow_newest(self) -> None:
        """Show the newest frame that has a label, unless one is held or still being read."""
        state = self._state
        if state is None or self._controls.hold.value or self._reading is not None:
            return
        every = self._controls.of_detector(state.table)
        table = every[every["status"].isin([Status.CLASSIFIED, Status.FLAGGED])]
        table = every if table.empty else table
        if table.empty:
            return
        newest = (str(table["image_key"].iloc[-1]), int(table["frame_index"].iloc[-1]))
        if newest != self._frame or self._shown is None:
            self._frame = newest
            self._want_frame()

    def _want_frame(self) -> None:
        if self._frame is None or not self._uid:
            return
        self._wanted = (self._uid, *self._frame, int(self._controls.average.value))
        self._reading = self._monitor.frame(*self._wanted)
        self._reading.add_done_callback(lambda done: self._soon())
        self._mark()

    def _soon(self) -> None:
        """Draw at once what another thread has ready, if the page is still open."""
        context = self._document.session_context
        if context is not None and not context.destroyed:
            self._document.add_next_tick_callback(self._draw_frame)

    def _draw_frame(self) -> None:
        with self._as_one_message():
            self._take_frame()

    def _take_frame(self) -> None:
        if self._reading is None or not self._reading.done():
            return
        reading, self._reading = self._reading, None
        error = reading.exception()
        if error is not None:
            self._line.object = frame_line(None, None, f"The frame can't be read: {one_line(error)}")
            return
        self._show_frame(reading.result())

    def _show_frame(self, frame: ShownFrame | None) -> None:
        self._shown = frame
        self._frame_figure.show(frame)
        self._probabilities.show(frame)
        self._sample.show(frame)
        self._line.object = frame_line(self._state, frame)
        self._controls.shows(frame)
        self._explaining = None
        self._mark()
        if frame is not None and self._controls.saliency.value:
            self._explain()

    def _mark(self) -> None:
        if self._frame is not None:
            self._run_figure.choose(*self._frame)
            self._region_figure.choose(self._frame[1])

    def _explain(self) -> None:
        if self._shown is None or self._frame is None or self._explaining is not None:
            return
        self._controls.say("Computing the saliency: ten seconds the first time, then one …")
        self._explaining = self._monitor.explain(self._uid, self._shown.image_key, self._shown.frame_index)

    def _take_saliency(self) -> None:
        if self._explaining is None or not self._explaining.done():
            return
        explained, self._explaining = self._explaining, None
        if not self._controls.saliency.value or self._shown is None:
            return
        error = explained.exception()
        if error is not None:
            self._controls.say(f"No saliency: {one_line(error)}")
            self._controls.saliency.value = False
            return
        found = explained.result()
        factor = math.ceil(max(found.strength.shape) / max(self._shown.pixels.shape))
        self._frame_figure.show_saliency(thin(found.strength, factor))
        self._controls.say(f"The brighter, the more a pixel counts for {found.disk_number} disks.")

    def _draw_region(self, state: RunState) -> None:
        region = self._region
        if region is None or (self._region_work is not None and not self._region_work.done()):
            return
        if self._region_work is not None and self._region_work.exception() is None:
            self._region_figure.show((region.rows, region.columns), region.curve())
        frames = int((state.table["image_key"] == region.image_key).sum())
        if region.missing(frames):
            self._region_work = self._monitor.region_work(self._uid, region)
        else:
            self._region_work = None

    def _say(self, problem: str) -> None:
        """Say above everything what is wrong, or nothing."""
        from speckle_plugin.monitor.view.words import banner

        text = banner(problem) if problem else ""
        if self._banner.object != text:
            self._banner.object = text
            self._banner.visible = bool(text)


def _pane(holder: Any) -> Any:
    return pn.pane.Bokeh(holder.figure, sizing_mode="stretch_both", margin=0)


def _with_margin(card: Any) -> Any:
    card.margin = (0, 4)
    return card
