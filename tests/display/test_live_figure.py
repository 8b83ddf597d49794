"""The live figure beside real scans: it shows them, and nothing that it does or fails to do reaches them."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from matplotlib.image import imread
from numpy.typing import NDArray

from simulated_devices import quadrant
from speckle_plugin.display import AttachedFigure, LiveFigure, NoDisplayError, Place, choose_place
from speckle_plugin.display.process import drawing_command
from speckle_plugin.live import LiveClassifier
from speckle_plugin.plans import classify_grid_scan
from tests.testing.processes import niceness_of_session

WAIT = 60.0

HANGING = [sys.executable, "-c", "import time; time.sleep(1000)"]
CRASHING = [sys.executable, "-c", "import os, sys; sys.stdin.buffer.read(1000); os._exit(9)"]
CLOSED = [sys.executable, "-c", "import sys; sys.stdin.buffer.read(1000)"]
MISSING = ["/nowhere/python"]


class Images(list[bytes]):
    """Keeps the images of a figure in the place of a notebook."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = 0

    def begin(self) -> None:
        self.begun += 1

    def show(self, png: bytes) -> None:
        self.append(png)

    def pixels(self) -> NDArray[Any]:
        return np.asarray(imread(io.BytesIO(self[-1])))


def predicted_pixels(images: Images) -> int:
    """Count the pixels in the colour of the predicted disk number's bar."""
    difference = np.abs(images.pixels()[..., :3] * 255 - (0xD5, 0x5E, 0x00))
    return int((difference.max(axis=-1) < 2).sum())


@pytest.fixture
def images() -> Images:
    return Images()


@pytest.fixture
def make_figure(images: Images) -> Iterator[Callable[..., LiveFigure]]:
    made: list[LiveFigure] = []

    def make(live: LiveClassifier, command: list[str] | None = None, **settings: Any) -> LiveFigure:
        def give(place: Place) -> list[str]:
            return drawing_command(place) if command is None else command

        figure = LiveFigure("inline", live.backlog, give, images=images, **settings)
        live.subscribe(figure)
        live.watch(figure.see)
        made.append(figure)
        return figure

    yield make
    for figure in made:
        figure.close()


def wait_for(done: Callable[[], object], told: str) -> None:
    deadline = time.monotonic() + WAIT
    while not done():
        assert time.monotonic() < deadline, told
        time.sleep(0.02)


def test_a_scan_is_drawn(run_engine: RunEngine, make_live, make_detector, make_figure, images) -> None:
    live, det = make_live(), make_detector()
    figure = make_figure(live)
    run_engine.subscribe(live)
    run_engine(classify_grid_scan([det], det.sample.y, -1, 1, 3, det.sample.x, -1, 1, 3))
    wait_for(lambda: images and predicted_pixels(images) > 500, "the predicted disk number has no bar")
    assert images.begun == 1
    assert images.pixels().shape[:2] == (576, 1080)
    figure.close()
    assert figure.process_id is None


@pytest.mark.parametrize(
    ("command", "told"),
    [
        (HANGING, None),
        (CRASHING, "the exit code 9; it begins again with the next run"),
        (CLOSED, None),
        (MISSING, "it can't be started"),
    ],
    ids=["hangs", "crashes", "closed", "missing"],
)
def test_a_figure_in_trouble_costs_the_scan_nothing(
    run_engine, make_live, make_detector, make_figure, documents, caplog, command, told
) -> None:
    # Frames larger than a pipe takes, so that sending does hang.
    live, det = make_live(), make_detector(grid=quadrant(257))
    figure = make_figure(live, command)
    run_engine.subscribe(live)
    for _ in range(2):
        run_engine(bp.count([det], 20))
    assert [counts["classified"] for counts in documents.frame_counts()] == [20, 20]
    if told is None:
        assert "live figure" not in caplog.text
    else:
        wait_for(lambda: told in caplog.text, f"{told!r} was not told: {caplog.text}")
        assert caplog.text.count("there is no live figure") == 1, "the same is told once"
    begun = time.monotonic()
    figure.close()
    assert time.monotonic() - begun < 20


def test_a_process_that_hangs_is_replaced(run_engine, make_live, make_detector, make_figure, caplog) -> None:
    live, det = make_live(), make_detector(grid=quadrant(257))
    figure = make_figure(live, HANGING, patience=0.1)
    run_engine.subscribe(live)
    run_engine(bp.count([det], 3))
    wait_for(lambda: figure.process_id, "the process did not start")
    first = figure.process_id
    time.sleep(1.0)
    run_engine(bp.count([det], 3))
    wait_for(lambda: figure.process_id not in (first, None), "no other process")
    assert "does not answer" in caplog.text


def test_a_crash_in_the_midst_of_a_scan(
    run_engine, make_live, make_detector, make_figure, documents, images, caplog
) -> None:
    live, det = make_live(), make_detector()
    figure = make_figure(live)
    run_engine.subscribe(live)

    def kill() -> None:
        wait_for(lambda: images, "nothing was drawn")
        os.kill(figure.process_id or 0, signal.SIGKILL)

    killing = threading.Thread(target=kill)
    killing.start()
    run_engine(bp.count([det], 30, delay=0.1))
    killing.join()
    seen = len(images)  # the last one of the next run may be drawn before that run is over
    run_engine(bp.count([det], 5))
    assert [counts["classified"] for counts in documents.frame_counts()] == [30, 5]
    wait_for(lambda: len(images) > seen, "it did not begin again with the next run")
    assert "exit code -9" in caplog.text


def test_a_process_that_ended_between_two_runs_is_replaced(
    run_engine, make_live, make_detector, make_figure, images
) -> None:
    live, det = make_live(), make_detector()
    figure = make_figure(live)
    run_engine.subscribe(live)

    def run_and_kill() -> None:
        seen = len(images)
        run_engine(bp.count([det], 3))
        wait_for(lambda: len(images) > seen, "nothing was drawn")
        process_id = figure.process_id
        assert process_id is not None
        os.kill(process_id, signal.SIGKILL)

    run_and_kill()
    run_and_kill()  # the end of the first process is noticed before this run, or in it


def test_closed_by_the_user_it_stays_closed_until_asked_for(
    run_engine, make_live, make_detector, make_figure, caplog
) -> None:
    live, det = make_live(), make_detector()
    figure = make_figure(live, CLOSED)
    run_engine.subscribe(live)
    run_engine(bp.count([det], 3))
    wait_for(lambda: figure.closed_by_user, "its end was not noticed")
    run_engine(bp.count([det], 3))
    time.sleep(0.5)
    assert figure.process_id is None and "live figure" not in caplog.text
    figure.open()
    wait_for(lambda: figure.process_id or figure.closed_by_user, "it did not open")


def test_no_display_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    assert choose_place("auto") is None and choose_place("none") is None
    with pytest.raises(NoDisplayError, match="no display for the live figure: neither DISPLAY nor") as told:
        choose_place("window")
    assert "\n" not in str(told.value)
    with pytest.raises(NoDisplayError, match="this is no Jupyter kernel"):
        choose_place("inline")


def test_a_session_without_a_display_measures(make_live, monkeypatch, caplog) -> None:
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    attached = AttachedFigure(make_live(), "window")
    assert attached.figure is None
    assert caplog.text.count("there is no display for the live figure") == 1
    with pytest.raises(NoDisplayError, match="there is no display"):
        attached.open()
    attached.open("none")


def test_a_session_opens_and_closes_its_figure(make_live, monkeypatch) -> None:
    monkeypatch.setenv("DISPLAY", ":4711")
    attached = AttachedFigure(make_live(), "window")
    first = attached.figure
    assert first is not None and first.place == "window" and first.process_id is None
    attached.open("none")
    assert attached.figure is None
    attached.close()


@pytest.mark.slow
def test_a_hundred_scans_leave_one_process_of_constant_memory(
    run_engine, make_live, make_detector, make_figure, images, documents
) -> None:
    live, det = make_live(), make_detector()
    figure = make_figure(live)
    run_engine.subscribe(live)
    processes, memory = set(), []
    for number in range(100):
        seen = len(images)
        run_engine(classify_grid_scan([det], det.sample.y, -1, 1, 2, det.sample.x, -1, 1, 2))
        deadline = time.monotonic() + WAIT
        while len(images) == seen:
            assert time.monotonic() < deadline, f"scan {number} was not drawn"
            time.sleep(0.02)
        processes.add(figure.process_id)
        assert niceness_of_session(figure.process_id or 0) in (19, None)
        memory.append(memory_of(figure.process_id or 0))
    assert len(processes) == 1
    assert max(memory[90:]) < memory[20] + 8, "MiB"
    assert len(documents.frame_counts()) == 100


def memory_of(process: int) -> float:
    """Give the memory of a process in MiB."""
    pages = int(Path(f"/proc/{process}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20
