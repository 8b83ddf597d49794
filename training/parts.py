"""Long work in parts, each kept in a file of its own: what was interrupted goes on where it stopped."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

__all__ = ["in_processes", "save_part", "write_whole"]

Job = TypeVar("Job")


def save_part(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays to an .npz file, at once or not at all."""
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, allow_pickle=False, **arrays)
    partial.replace(path)


def write_whole(path: Path, text: str) -> None:
    """Write a text, at once or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text)
    partial.replace(path)


def in_processes(
    do: Callable[[Job], object],
    jobs: Sequence[Job],
    prepare: Callable[[], object] | None = None,
) -> Iterator[Job]:
    """Do jobs in as many processes as there are processors, and yield each that is done.

    Parameters
    ----------
    do : callable
        Given each job; it can be pickled, as the jobs can.
    jobs : sequence
    prepare : callable, optional
        Called in each process before its first job.

    Raises
    ------
    ChildProcessError
        If a process ends by itself, or can't be prepared; what is wrong it has printed. Errors of a job are
        raised as they are.
    """
    if not jobs:
        return
    # A fork would copy the state of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    count = min(os.cpu_count() or 1, len(jobs))
    with ProcessPoolExecutor(count, context, initializer=prepare) as pool:
        pending = {pool.submit(do, job): job for job in jobs}
        try:
            for made in as_completed(pending):
                made.result()
                yield pending[made]
        except BrokenProcessPool as error:
            raise ChildProcessError(
                f"one of {count} processes that share the work ended before its time: what it printed stands "
                "above (if nothing does, it was killed, by hand or for want of memory). Parts that were "
                "done are kept where a folder was given: do the same again to go on"
            ) from error
        finally:  # after an error, or Ctrl+C, what has not begun is not waited for
            pool.shutdown(wait=False, cancel_futures=True)
