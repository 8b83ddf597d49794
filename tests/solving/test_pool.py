"""Processes that solve frames: what they answer, what they import, and that one may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.solving import FrameError, SolverError, SolverPool, SolveTask
from speckle_plugin.structure import SolveSettings, Structure, solve
from tests.testing.processes import niceness_of_session, solving_processes


@pytest.fixture(scope="module")
def pool() -> Iterator[SolverPool]:
    with SolverPool(1) as opened:
        yield opened


@pytest.fixture(scope="module")
def task() -> SolveTask:
    grid = quadrant(65)
    frame = intensity(draw_system("mono", 2, np.random.default_rng(5)), grid)
    return SolveTask(frame, FrameGeometry(grid.shape), grid.pitch, SolveSettings(budget=2.0))


def test_a_process_finds_what_the_solver_finds_here(pool: SolverPool, task: SolveTask) -> None:
    there = pool.submit(task).result(60)
    here = solve(task.frame, task.geometry, task.k_step, task.settings)
    assert (there.certificate, there.disk_number) == (here.certificate, here.disk_number)
    np.testing.assert_array_equal(there.r, here.r)


def test_its_processes_give_way_to_other_programs(task: SolveTask) -> None:
    before = niceness_of_session(os.getpid())
    with SolverPool(1, niceness=19) as pool:
        pool.submit(task).result(60)
        # All that this one has: the pool of the module may be open.
        found = [(os.getpriority(os.PRIO_PROCESS, p), niceness_of_session(p)) for p in solving_processes()]
    assert (19, 19) in found or (19, None) in found
    assert niceness_of_session(os.getpid()) == before


def test_a_frame_that_is_refused_costs_the_others_nothing(pool: SolverPool, task: SolveTask) -> None:
    other = replace(task, frame=task.frame[:40])
    outcomes = list(pool.solve_each([task, other, task]))
    assert [type(outcome) for outcome in outcomes] == [Structure, FrameError, Structure]
    assert "(65, 65)" in str(outcomes[1])


def test_a_process_that_dies_is_replaced(pool: SolverPool, task: SolveTask) -> None:
    pool.submit(task).result(60)
    hard = replace(task, frame=np.random.default_rng(0).random((65, 65)), settings=SolveSettings(budget=60.0))
    dying = pool.submit(hard)
    while not dying.running():
        pass
    (child,) = solving_processes()
    os.kill(child, signal.SIGKILL)
    with pytest.raises(SolverError, match="exit code -9"):
        dying.result(60)
    assert isinstance(pool.submit(task).result(60), Structure)


def test_a_process_that_hangs_is_killed(task: SolveTask) -> None:
    endless = replace(task, frame=np.zeros((65, 65)), settings=SolveSettings(budget=0.0))
    with SolverPool(1, patience=0.01) as impatient, pytest.raises(SolverError):
        impatient.submit(endless).result(60)


def test_what_waits_is_cancelled_at_the_end(task: SolveTask) -> None:
    others = solving_processes()
    pool = SolverPool(1)
    futures = [pool.submit(task) for _ in range(5)]
    pool.close()
    assert futures[-1].cancelled()
    assert solving_processes() == others
    with pytest.raises(RuntimeError, match="closed"):
        pool.submit(task)


def test_the_process_imports_no_network_and_no_store() -> None:
    code = (
        "import sys, speckle_plugin.solving.worker as w;"
        "print([m for m in ('tensorflow', 'openvino', 'tiled', 'bluesky', 'matplotlib') if m in sys.modules])"
    )
    # openvino_telemetry stands in sys.modules as None, which is not an import
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert printed.stdout.strip() == "[]"


def test_a_pool_of_no_process_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one process"):
        SolverPool(0)
