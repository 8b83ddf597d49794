"""Tasks and answers come through a pipe as they were, and nothing that comes through it runs."""

from __future__ import annotations

import io
import math
import pickle
import subprocess
import sys
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.solving import SolveTask
from speckle_plugin.solving.task import Answer
from speckle_plugin.solving.wire import pack_answer, pack_task, read_answer, read_task
from speckle_plugin.structure import Prior, SolveSettings, Structure, solve

SHAPE = (5, 7)
TASK = SolveTask(
    np.arange(35.0).reshape(SHAPE),
    FrameGeometry(SHAPE, (1.25, 3.0), np.eye(*SHAPE, dtype=bool)),
    0.1 + 0.2,
    SolveSettings(noise="counts", prior=Prior(mean=40.0, deviation=5.0), seed=3),
)


@pytest.mark.parametrize(
    "frame",
    [
        np.full(SHAPE, np.nan, ">f4"),
        np.arange(35, dtype=np.uint16).reshape(SHAPE),
        np.arange(70, dtype=np.int64).reshape(7, 10)[:, ::2].T,
        np.ones(SHAPE, complex),
    ],
)
def test_a_task(frame: NDArray[Any]) -> None:
    stream = io.BytesIO(pack_task(replace(TASK, frame=frame)) + pack_task(TASK))
    read, after = read_task(stream), read_task(stream)
    np.testing.assert_array_equal(read.frame, frame)
    assert read.frame.dtype == frame.dtype
    for task in (read, after):
        assert (task.k_step, task.settings) == (TASK.k_step, TASK.settings)
        assert (task.geometry.shape, task.geometry.beam_center) == (SHAPE, (1.25, 3.0))
        assert task.geometry.mask_hash == TASK.geometry.mask_hash


def test_an_answer() -> None:
    found = solve(TASK.frame, FrameGeometry(SHAPE), TASK.k_step)  # undecided: too few pixels
    odd = np.array([0.1 + 0.2, math.nan])
    found = replace(
        found,
        x=odd, y=odd, r=odd, x_error=odd, y_error=odd, r_error=odd,
        weakest_gain=math.inf, z_score=math.nan, history=("one", "π"),
    )  # fmt: skip
    stream = io.BytesIO(pack_answer(Answer(found)) + pack_answer(Answer(None, "no")))
    read = read_answer(stream).structure
    assert read is not None
    for field in fields(Structure):
        np.testing.assert_equal(getattr(read, field.name), getattr(found, field.name), field.name)
    assert read_answer(stream) == Answer(None, "no")


@pytest.mark.parametrize("part", [0, 10, -1])
def test_an_end_in_the_midst(part: int) -> None:
    with pytest.raises(EOFError):
        read_task(io.BytesIO(pack_task(TASK)[:part]))


class Bomb:
    """What a pickle of it does when it is read."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        """Say what is called."""
        return print, ("exploded",)


def test_pickles_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="allow_pickle"):
        pack_task(replace(TASK, frame=np.array([[Bomb()]])))
    command = [sys.executable, "-m", "speckle_plugin.solving.worker", "0"]
    ended = subprocess.run(command, input=pickle.dumps(Bomb()) + b"\n", capture_output=True, check=False)
    assert ended.returncode == 1
    assert b"exploded" not in ended.stdout + ended.stderr
