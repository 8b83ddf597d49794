"""The process that solves frames: tasks come through its standard input, answers go to its standard output.

It ends when its input does, also in the midst of a frame: so no process outlives the one that started it.
It imports numpy, scipy and numba, and nothing of networks, Tiled or bluesky.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import traceback
from typing import IO

from speckle_plugin.solving.task import Answer, SolveTask
from speckle_plugin.solving.wire import pack_answer, read_task
from speckle_plugin.structure import solve
from speckle_plugin.thread_priority import give_way_as_session

__all__ = ["main"]


def main() -> None:
    """Answer tasks until the input ends. The first argument is the process's niceness."""
    niceness = int(sys.argv[1])
    os.nice(niceness)
    give_way_as_session(niceness)  # which is its own
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    tasks: queue.SimpleQueue[SolveTask] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(sys.stdin.buffer, tasks), daemon=True).start()
    while True:
        answers.write(pack_answer(_answer(tasks.get())))
        answers.flush()


def _read(stream: IO[bytes], tasks: queue.SimpleQueue[SolveTask]) -> None:
    while True:
        try:
            tasks.put(read_task(stream))
        except (EOFError, OSError):
            os._exit(0)
        except Exception:  # not a task: the other end is told by the end of this one
            traceback.print_exc()
            os._exit(1)


def _answer(task: SolveTask) -> Answer:
    try:
        return Answer(solve(task.frame, task.geometry, task.k_step, task.settings))
    except ValueError as error:
        return Answer(None, str(error))
    except Exception as error:  # a defect of the solver: it costs this frame only
        traceback.print_exc()
        return Answer(None, f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    main()
