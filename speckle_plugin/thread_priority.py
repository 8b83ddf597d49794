"""Which threads give way to others: saving and serving do, to measuring and classifying."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path

__all__ = ["give_way", "give_way_as_session"]

NICENESS = 10
"""Of 19; a thread that wants the processor besides gets nine times as much of it."""


def give_way(thread: threading.Thread) -> None:
    """Have a thread, and those that it starts from now on, run where others leave the processor free.

    On Linux only: elsewhere a thread has no priority of its own, and nothing is done.
    """
    if sys.platform == "linux" and thread.native_id is not None:
        with suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, thread.native_id, NICENESS)


def give_way_as_session(niceness: int = NICENESS) -> None:
    """Have all processes of this process's session give way to those of others, such as a user's terminal.

    Where the kernel groups processes by their session (`sched_autogroup_enabled`, as it is on most Linux
    machines), it shares the processors among the groups first, and the priority of a thread counts within its
    group only. Nothing is done elsewhere. See "The autogroup feature" in sched(7).

    Parameters
    ----------
    niceness : int
        From 0 to 19.
    """
    if sys.platform == "linux":
        with suppress(OSError):
            Path("/proc/self/autogroup").write_text(str(niceness))
