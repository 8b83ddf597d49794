"""Long work in several processes: what comes of errors."""

from __future__ import annotations

import functools
import operator
import os

import pytest

from training.parts import in_processes


def test_jobs_are_done_and_named() -> None:
    assert sorted(in_processes(abs, [-1, 2, -3])) == [-3, -1, 2]
    assert list(in_processes(abs, [])) == []


def test_the_error_of_a_job_is_raised_as_it_is() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        list(in_processes(int, ["1", "no number"]))


def test_a_process_that_is_killed_is_said_to_be() -> None:
    with pytest.raises(ChildProcessError, match="do the same again to go on"):
        list(in_processes(os._exit, [3]))


def test_what_a_process_could_not_prepare_stands_in_its_words(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ChildProcessError, match="what it printed stands above"):
        list(in_processes(abs, [1, 2], functools.partial(operator.truediv, 1, 0)))
    assert "ZeroDivisionError" in capfd.readouterr().err
