"""Which threads give way to others: saving does, to measuring and classifying."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

__all__ = ["give_way"]

NICENESS = 10
"""Of 19; a thread that wants the processor besides gets nine times as much of it."""


def give_way(thread: threading.Thread) -> None:
    """Have a thread, and those that it starts from now on, run where others leave the processor free.

    On Linux only: elsewhere a thread has no priority of its own, and nothing is done.
    """
    if sys.platform == "linux" and thread.native_id is not None:
        with suppress(OSError):  # it has ended
            os.setpriority(os.PRIO_PROCESS, thread.native_id, NICENESS)
