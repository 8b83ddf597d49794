from __future__ import annotations

import threading

import numpy as np
import threadpoolctl

from speckle_plugin.blas_threads import one_blas_thread


def blas_threads() -> list[int]:
    """The number of threads of each BLAS of the process."""
    assert np.__version__  # its BLAS is loaded
    return [pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"]


def test_one_thread_inside_and_as_many_as_before_outside() -> None:
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            assert set(blas_threads()) == {1}
        assert set(blas_threads()) == {2}


def test_threads_that_overlap_leave_the_number_as_it_was() -> None:
    """Each restores what it found: the second one must not find the 1 of the first."""
    inside = threading.Event()

    def second() -> None:
        inside.wait(10)
        with one_blas_thread():
            pass

    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        thread = threading.Thread(target=second)
        thread.start()
        with one_blas_thread():
            inside.set()
            thread.join(0.2)
        thread.join(10)
        assert set(blas_threads()) == {2}
