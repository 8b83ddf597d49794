"""What a page draws when it is late, or when the axes of its run change; without a browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import panel as pn
import pytest
from bokeh.document import Document

from speckle_plugin.monitor import model
from speckle_plugin.monitor.followed import RunState
from speckle_plugin.monitor.layout import Layout
from speckle_plugin.monitor.model import Monitor
from speckle_plugin.monitor.view.page import Page
from speckle_plugin.monitor.view.run_figure import RunFigure
from speckle_plugin.store import TiledStore
from speckle_plugin.store.read.frames import FRAME_COLUMNS
from tests.monitor.test_model import make_monitor, page_of, wait_for

__all__ = ["make_monitor"]

pytestmark = [
    pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager"),
    # The oldest Panel that is supported (1.7) has the old names only; the newest asks pandas in an old way.
    pytest.mark.filterwarnings("ignore::PendingDeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The inplace keyword:DeprecationWarning"),
]


def test_a_page_that_is_late_keeps_what_it_drew(
    store: TiledStore,
    measure_beside: Callable[..., threading.Thread],
    make_monitor: Callable[..., Monitor],  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The monitor lets a run go that no page asked for, as on a busy machine, and begins anew."""
    monkeypatch.setattr(model, "FORGOTTEN", 0.5)
    monitor = make_monitor(store)
    before = page_of(monitor).total
    drawn: list[int] = []
    scan = measure_beside(store, 6, held=lambda frames: frames == 3 and 3 not in drawn)
    page_of(monitor, total=before + 1)
    document = Document()
    page = Page(monitor, document)
    (periodic,) = document.session_callbacks
    figures = {pane.object.name: pane.object for pane in page.panel.select(pn.pane.Bokeh)}

    def tick() -> int:
        periodic.callback()
        drawn.append(len(figures["run"].renderers[0].data_source.data["x"]))
        return drawn[-1]

    wait_for(lambda: tick() == 3)
    scan.join(60)
    for _ in range(2):
        time.sleep(1.5)  # no tick: the run is let go
        wait_for(lambda: tick() == 6)
        said = " ".join(str(pane.object) for pane in page.panel.select(pn.pane.HTML))
        assert "Loading" not in said
    assert drawn == sorted(drawn), "never fewer frames than before"


def a_state(layout: Layout, table: pd.DataFrame) -> RunState:
    return RunState("a-run", {}, None, table, layout, ("det_image",))


def a_table(**positions: list[float]) -> pd.DataFrame:
    count = len(next(iter(positions.values())))
    table = pd.DataFrame({key: pd.Series(np.zeros(count)) for key in FRAME_COLUMNS})
    return table.assign(
        image_key="det_image", status="classified", disk_number=7, flags="", time=1e9, **positions
    )


def test_other_axes_empty_no_figure() -> None:
    """Each change is sent to the browser by itself: an empty figure between two would be seen."""
    figure, lengths = RunFigure(lambda key, index: None), []
    source = figure.figure.renderers[0].data_source
    source.on_change("data", lambda attr, old, new: lengths.append(len(new["x"])))
    table = a_table(x=[0.0, 1.0, 2.0])
    for layout in (Layout("time", "time", "", "time of day"), Layout("line", "x", "", "x (mm)")):
        figure.show(a_state(layout, table), table)
    assert lengths == [3, 3]
    assert list(source.data["x"]) == [0.0, 1.0, 2.0] and figure.figure.xaxis.axis_label == "x (mm)"


def test_a_map_whose_steps_are_found_as_it_grows_keeps_the_range_that_people_zoomed_to() -> None:
    figure = RunFigure(lambda key, index: None)
    steps: list[Any] = []
    ranges = []
    for step in (1.0, 0.5):
        table = a_table(x=[0.0, step], y=[0.0, step])
        figure.show(a_state(Layout("map", "x", "y", "x", "y", (step, step)), table), table)
        steps.append(figure.figure.renderers[0].glyph.width)
        ranges.append((figure.figure.x_range, figure.figure.y_range))
    assert steps == [1.0, 0.5]
    assert all(one is other for one, other in zip(*ranges, strict=True))
