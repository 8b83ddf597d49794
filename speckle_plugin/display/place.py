"""Where a figure can be shown: in a window, or in the output of a Jupyter notebook."""

from __future__ import annotations

import os
import sys
from typing import Any, Literal

__all__ = ["NoDisplayError", "Place", "Wanted", "choose_place"]

Place = Literal["window", "inline"]
"""A window of its own, or the output of a notebook's cell."""

Wanted = Literal["auto", "window", "inline", "none"]
"""What a user may ask for. `auto` is for people: in IPython and Jupyter, and none in scripts and workers."""


class NoDisplayError(RuntimeError):
    """There is nowhere to show a figure; the message says why, and what helps."""


def choose_place(wanted: Wanted) -> Place | None:
    """Tell where the live figure is to be.

    Parameters
    ----------
    wanted : {"auto", "window", "inline", "none"}

    Returns
    -------
    {"window", "inline"} or None
        None for nowhere.

    Raises
    ------
    NoDisplayError
        If a certain place is wanted, and there is none.
    """
    if wanted == "none":
        return None
    shell = _shell()
    notebook = shell is not None and hasattr(shell, "kernel")
    if wanted == "inline":
        if not notebook:
            raise NoDisplayError(
                "the live figure can't be inline, since this is no Jupyter kernel: choose "
                'live_figure = "window" or "none"'
            )
        return "inline"
    if wanted == "window":
        if not _has_display():
            raise NoDisplayError(
                "there is no display for the live figure: neither DISPLAY nor WAYLAND_DISPLAY is set. "
                "Work at the machine's screen, by ssh -X, or in Jupyter"
            )
        return "window"
    # What a worker of the queue server does, nobody looks at.
    if shell is None or _is_worker():
        return None
    return "inline" if notebook else "window" if _has_display() else None


def _shell() -> Any:
    """Give the running IPython, without importing it."""
    ipython = sys.modules.get("IPython")
    return None if ipython is None else ipython.get_ipython()


def _is_worker() -> bool:
    queue_server = sys.modules.get("bluesky_queueserver")
    return queue_server is not None and queue_server.is_re_worker_active()


def _has_display() -> bool:
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
