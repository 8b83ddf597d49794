"""The live table: its columns, beside those of other devices, and of runs without frames."""

from __future__ import annotations

import io
import re

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback
from ophyd.sim import SynAxis, SynGauss
from rich.console import Console

from simulated_devices import FlySpeckleDetector
from speckle_plugin.live import LiveTable
from speckle_plugin.plans import classify_fly, classify_scan


@pytest.fixture
def printed() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def table(printed: io.StringIO) -> LiveTable:
    return LiveTable(Console(file=printed, width=200))


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines() if re.match(r" +\d+ \d\d:\d\d:\d\d", line)]


def test_a_row_has_time_positions_readings_and_our_columns(
    run_engine: RunEngine, make_live, make_detector, table, printed
) -> None:
    live, det = make_live(), make_detector()
    motor = SynAxis(name="motor")
    monitor = SynGauss("monitor", motor, "motor", center=0, Imax=100)
    live.subscribe(table)
    run_engine.subscribe(live)
    run_engine(classify_scan([det, monitor], det.sample.x, -1, 1, 3))
    text = printed.getvalue()
    (head,) = [line.split() for line in text.splitlines() if line.startswith("frame")]
    assert head == "frame time det_sample_x monitor disks confidence truth flags".split()
    assert [row[0] for row in rows(text)] == ["0", "1", "2"]
    assert [row[2] for row in rows(text)] == ["-1.000", "0.000", "1.000"]
    assert [row[3] for row in rows(text)] == ["100.000"] * 3
    assert {row[4] for row in rows(text)} == {"7"}


def test_a_run_without_frames_has_its_points(run_engine: RunEngine, make_live, table, printed) -> None:
    live, motor = make_live(), SynAxis(name="motor")
    monitor = SynGauss("monitor", motor, "motor", center=0, Imax=100)
    live.subscribe(table)
    run_engine.subscribe(live)
    run_engine(bp.scan([monitor], motor, 0, 1, 2))
    text = printed.getvalue()
    assert "point     time     motor   monitor" in text and "frames" not in text
    assert [row[2:] for row in rows(text)] == [["0.000", "100.000"], ["1.000", "60.653"]]


def test_beside_a_best_effort_callback_everything_keeps_its_order(
    run_engine: RunEngine, make_live, make_detector, engine, capsys
) -> None:
    """Both are subscribed to the live classifier: one thread prints, the baseline around the rows."""
    live, det = make_live(), make_detector()
    engine.delay = 0.2  # rows come late
    bec = BestEffortCallback(table_enabled=False)
    bec.disable_heading()
    bec.disable_plots()
    live.subscribe(LiveTable(Console(width=200)))
    live.subscribe(bec)
    run_engine.subscribe(live)
    motor = SynAxis(name="motor")
    run_engine(bpp.baseline_wrapper(bp.count([det], 4), [motor]))
    text = capsys.readouterr().out
    places = [text.index(part) for part in ("scan 1 ", "Start-of-run", "frame ", "End-of-run")]
    assert places == sorted(places)
    assert all(places[2] < text.index(f"\n    {n} ") < places[3] for n in range(4))
    assert text.count("confidence") == 1, "one head"


def test_readings_of_the_baseline_are_not_those_of_the_frames(
    run_engine: RunEngine, make_live, make_detector, table, printed, engine
) -> None:
    live, det = make_live(), make_detector()
    engine.delay = 0.3  # the baseline at the end has come before the last result
    live.subscribe(table)
    run_engine.subscribe(live)
    run_engine(bpp.baseline_wrapper(bp.scan([det], det.sample.x, -1, 1, 3), [det.sample.y]))
    assert [row[2] for row in rows(printed.getvalue())] == ["-1.000", "0.000", "1.000"]


def test_plans_without_a_descriptor(run_engine: RunEngine, make_live, table, printed) -> None:
    live = make_live()
    live.subscribe(table)
    run_engine.subscribe(live)

    @bpp.run_decorator(md={"plan_name": "empty"})
    def plan():
        yield from bps.null()

    run_engine(plan())
    assert printed.getvalue().startswith("empty scan 1")


def test_frames_of_a_flight_have_their_truth(
    run_engine: RunEngine, make_live, make_detector, table, printed
) -> None:
    live, det = make_live(), make_detector(kind=FlySpeckleDetector)
    live.subscribe(table)
    run_engine.subscribe(live)
    run_engine(classify_fly(det, 3, det.sample.x, -1, 1))
    found = rows(printed.getvalue())
    assert [row[0] for row in found] == ["0", "1", "2"]
    truth = [int(row[-1]) for row in found]
    assert truth == sorted(truth) and truth[0] < truth[-1]
