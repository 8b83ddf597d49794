"""The live figure in a real window, on a display without a screen."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import bluesky.plans as bp
import pytest

from speckle_plugin.display import LiveFigure, choose_place

WIDTH, HEIGHT = 1600, 1000
VERMILION = bytes([0x00, 0x5E, 0xD5])
"""Of the bar of the predicted disk number, as a display stores it: blue, green, red."""


@pytest.fixture
def screen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Give the file that a display keeps its pixels in."""
    pytest.importorskip("tkinter", reason="Python has no tkinter: no toolkit opens windows")
    if shutil.which("Xvfb") is None:
        pytest.skip("there is no Xvfb: install the Debian package xvfb (.ci/install-debian)")
    command = ["Xvfb", "-displayfd", "1", "-screen", "0", f"{WIDTH}x{HEIGHT}x24", "-fbdir", str(tmp_path)]
    with subprocess.Popen(
        [*command, "-nolisten", "tcp"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as server:
        try:
            assert server.stdout is not None
            number = server.stdout.readline().decode().strip()
            monkeypatch.setenv("DISPLAY", f":{number}")
            monkeypatch.setenv("MPLBACKEND", "module://matplotlib_inline.backend_inline")  # as in a kernel
            yield tmp_path / "Xvfb_screen0"
        finally:
            server.terminate()


def test_a_scan_is_seen_in_a_window(run_engine, make_live, make_detector, screen, documents) -> None:
    assert choose_place("window") == "window"
    live, det = make_live(), make_detector()
    figure = LiveFigure("window", live.backlog)
    live.subscribe(figure)
    live.watch(figure.see)
    run_engine.subscribe(live)
    run_engine(bp.scan([det], det.sample.x, -1, 1, 5))
    deadline = time.monotonic() + 60
    while screen.read_bytes().count(VERMILION) < 500:
        assert time.monotonic() < deadline, "no bar was drawn on the screen"
        time.sleep(0.2)
    assert documents.frame_counts()[0]["classified"] == 5
    assert figure.process_id is not None
    figure.close()
    assert figure.process_id is None


def test_a_display_that_is_not_there(
    run_engine, make_live, make_detector, monkeypatch, documents, caplog
) -> None:
    """DISPLAY names one that does not answer: that is told, and the scan goes on."""
    monkeypatch.setenv("DISPLAY", ":4711")
    monkeypatch.delenv("MPLBACKEND", raising=False)
    live, det = make_live(), make_detector()
    figure = LiveFigure("window", live.backlog)
    live.subscribe(figure)
    live.watch(figure.see)
    run_engine.subscribe(live)
    run_engine(bp.count([det], 2))
    deadline = time.monotonic() + 60
    while "there is no live figure, the scan goes on: " not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert documents.frame_counts()[0]["classified"] == 2
    (told,) = [r.getMessage() for r in caplog.records if "no live figure" in r.getMessage()]
    assert "opens no windows here" in told or "no window can be opened" in told
    figure.close()
