"""Processes that solve frames side by side.

Each is a process of its own, since the solver keeps a core busy for a second a frame, and may be
killed (by the system, for memory) without harm to the scan. Why not
:class:`concurrent.futures.ProcessPoolExecutor`: when one of its processes dies, it gives up all frames
that wait; and its processes run the user's script again, or copy this one with its threads.
"""

from __future__ import annotations

import itertools
import os
import queue
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from types import TracebackType
from typing import Self

from speckle_plugin.solving.task import Answer, SolveTask
from speckle_plugin.solving.wire import pack_task, read_answer
from speckle_plugin.structure import Structure

__all__ = ["FrameError", "Outcome", "SolverError", "SolverPool", "outcome_of", "spare_cores"]

PATIENCE = 120.0
"""Seconds beyond the budget of a frame, for the start of the process and numba's compilation; a process
that takes longer is killed."""

ONE_THREAD = {
    name: "1" for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
}
"""Threads of a matrix product spin on the cores of the others while they wait."""


class SolverError(RuntimeError):
    """A frame was not solved, since its process ended or could not be started: it may be tried again."""


class FrameError(ValueError):
    """The solver refuses a frame, or fails on it: it would do so again."""


def spare_cores() -> int:
    """Give the number of processes for work beside something more urgent: half of the cores."""
    return max(1, (os.cpu_count() or 1) // 2)


Outcome = Structure | FrameError | SolverError
"""What became of a frame."""


class SolverPool:
    """Solves frames in processes that start with the first frame and end with :meth:`close`.

    Parameters
    ----------
    workers : int
        How many processes.
    niceness : int
        How far they give way to others: 0 not at all, 19 wholly.
    patience : float
        Seconds beyond a frame's budget after which its process is killed.

    Raises
    ------
    ValueError
        If there is to be no process.
    """

    def __init__(self, workers: int, niceness: int = 0, patience: float = PATIENCE) -> None:
        if workers < 1:
            raise ValueError(f"at least one process is needed to solve frames, not {workers}")
        self.workers = workers
        self._niceness, self._patience = niceness, patience
        self._waiting: queue.SimpleQueue[tuple[SolveTask, Future[Structure]] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._processes: list[_Process] = []
        self._threads: list[threading.Thread] = []
        self._closed = False

    def start(self) -> None:
        """Start the processes now, so that the first frame does not wait for it."""
        with self._lock:
            if self._closed:
                raise RuntimeError("the pool of solving processes is closed")
            while len(self._threads) < self.workers:
                process = _Process(self._niceness, self._patience)
                thread = threading.Thread(
                    target=self._serve, args=(process,), name="speckle-solve", daemon=True
                )
                self._processes.append(process)
                self._threads.append(thread)
                thread.start()

    def submit(self, task: SolveTask) -> Future[Structure]:
        """Have a frame solved.

        Returns
        -------
        Future of Structure
            Its exception is a FrameError where the solver refuses the frame, a SolverError where the
            process ended; another process then takes the next frame. It may be cancelled while it waits.
        """
        self.start()
        future: Future[Structure] = Future()
        self._waiting.put((task, future))
        return future

    def solve_each(self, tasks: Iterable[SolveTask | FrameError]) -> Iterator[Outcome]:
        """Solve frames, in their order, as many at a time as there are processes.

        Parameters
        ----------
        tasks : iterable of SolveTask or FrameError
            Taken when they are needed: a few are in memory at a time. An error, for a frame that is
            known to be no use, is given back in its place.
        """
        waiting: deque[Future[Structure]] = deque()
        remaining = iter(tasks)
        try:
            while True:
                for task in itertools.islice(remaining, 2 * self.workers - len(waiting)):
                    waiting.append(_refused(task) if isinstance(task, FrameError) else self.submit(task))
                if not waiting:
                    return
                yield outcome_of(waiting.popleft())
        finally:
            for future in waiting:
                future.cancel()

    def close(self) -> None:
        """End the processes. Frames that wait or are being solved get no structure."""
        with self._lock:
            self._closed = True
        while True:
            try:
                item = self._waiting.get_nowait()
            except queue.Empty:
                break
            if item is not None:
                item[1].cancel()
        for _ in self._threads:
            self._waiting.put(None)
        for process in self._processes:
            process.kill()
        for thread in self._threads:
            thread.join()
        for process in self._processes:
            process.dispose()

    def __enter__(self) -> Self:
        """Give the pool itself; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def _serve(self, process: _Process) -> None:
        with suppress(SolverError):  # the first frame will say so
            process.start()
        while (item := self._waiting.get()) is not None:
            task, future = item
            if not future.set_running_or_notify_cancel():
                continue
            try:
                answer = process.ask(task)
            except Exception as error:
                future.set_exception(error)
            else:
                if answer.structure is not None:
                    future.set_result(answer.structure)
                else:
                    future.set_exception(FrameError(answer.error))


def _refused(error: FrameError) -> Future[Structure]:
    future: Future[Structure] = Future()
    future.set_exception(error)
    return future


def outcome_of(future: Future[Structure]) -> Outcome:
    """Wait for a frame, and give its structure or what it failed with."""
    try:
        return future.result()
    except CancelledError:
        return SolverError("it was not begun")
    except (FrameError, SolverError) as error:
        return error


class _Process:
    """One process, started when it is needed, and again after it ended."""

    def __init__(self, niceness: int, patience: float) -> None:
        self._niceness, self._patience = niceness, patience
        self._process: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()
        self._ended = False

    def start(self) -> subprocess.Popen[bytes]:
        """Start the process, unless it runs."""
        with self._lock:
            if self._ended:
                raise SolverError("the solving processes were closed")
            self._process = self._process or self._start()
            return self._process

    def ask(self, task: SolveTask) -> Answer:
        try:
            message = pack_task(task)
        except (TypeError, ValueError) as error:
            raise FrameError(f"the frame can't be handed to a solving process: {error}") from error
        process = self.start()
        watch = threading.Timer(task.settings.budget + self._patience, process.kill)
        watch.daemon = True
        watch.start()
        try:
            if process.stdin is None or process.stdout is None:
                raise SolverError("the solving process has no pipes")
            process.stdin.write(message)
            process.stdin.flush()
            return read_answer(process.stdout)
        except (OSError, EOFError, ValueError) as error:
            self.dispose()
            raise SolverError(f"the process that solved it ended (exit code {process.returncode})") from error
        finally:
            watch.cancel()

    def _start(self) -> subprocess.Popen[bytes]:
        # By its module, not by multiprocessing, which would run the user's script again.
        path = os.pathsep.join(entry for entry in sys.path if entry)
        try:
            return subprocess.Popen(
                [sys.executable, "-P", "-m", "speckle_plugin.solving.worker", str(self._niceness)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env={**os.environ, **ONE_THREAD, "PYTHONPATH": path},
                start_new_session=True,  # Ctrl-C is for the session
            )
        except OSError as error:
            raise SolverError(f"no process can be started to solve frames: {error}") from error

    def kill(self) -> None:
        """End the process for good, also in the midst of a frame."""
        with self._lock:
            self._ended = True
            if self._process is not None:
                self._process.kill()

    def dispose(self) -> None:
        """Wait for the end of the process, and forget it."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                with suppress(OSError):  # what the process did not take any more
                    pipe.close()
