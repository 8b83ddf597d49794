"""Progress bars of moves, and rows that are printed above them."""

from __future__ import annotations

import io
import logging

import bluesky.plan_stubs as bps
import pytest
from ophyd.sim import SynAxis
from rich.console import Console

from speckle_plugin.live.progress import ConsoleBar, progress_bars


class Status:
    """Says how far it is to whom watches."""

    done = False

    def watch(self, function) -> None:
        self.tell = function


def console(terminal: bool = True) -> Console:
    return Console(file=io.StringIO(), force_terminal=terminal, width=100)


def text(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_bar_shows_how_far_it_is_and_disappears() -> None:
    shown, status = console(), Status()
    bar = ConsoleBar([status, object()], shown, delay=0.0)
    assert bar._timer is not None  # noqa: SLF001
    bar._timer.join()  # noqa: SLF001
    status.tell(name="sample_x", current=0.5, initial=0.0, target=2.0, unit="mm")
    shown.print("a row")
    bar.clear()
    printed = text(shown)
    assert "sample_x" in printed and "0.5 of 2.0 mm" in printed and "a row" in printed
    assert printed.rstrip().endswith("\x1b[2K"), "the line of the bar is cleared"


def test_short_waits_and_files_have_none(run_engine) -> None:
    shown = console()
    run_engine.waiting_hook = progress_bars(shown, delay=60)
    motor = SynAxis(name="motor")
    run_engine(bps.mv(motor, 1.0))
    assert not text(shown)
    run_engine.waiting_hook = progress_bars(file := console(terminal=False), delay=0.0)
    motor.delay = 0.2
    run_engine(bps.mv(motor, 2.0))
    assert not text(file)


def test_a_move_has_a_bar(run_engine) -> None:
    shown = console()
    run_engine.waiting_hook = progress_bars(shown, delay=0.05)
    run_engine(bps.mv(SynAxis(name="motor", delay=0.5), 3.0))
    assert not run_engine.waiting_hook.pbar, "the wait is over"


@pytest.mark.parametrize(
    "told",
    [
        {"current": "here", "initial": 0, "target": 1},
        {"current": [1, 2], "initial": 0, "target": None},
    ],
)
def test_what_makes_no_sense_does_not_reach_the_plan(told, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    shown, status = console(), Status()
    bar = ConsoleBar([status], shown, delay=60)
    status.tell(name="motor", unit=None, **told)
    bar.clear()
    assert ("failed" in caplog.text) == (told["current"] == "here")
