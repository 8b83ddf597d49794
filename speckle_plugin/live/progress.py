"""Progress bars of moves and exposures, above which the live table goes on growing.

bluesky's own bar moves the cursor of the terminal by itself, and rows that are printed meanwhile end up in
it. These are drawn by the console that prints the rows. Use :func:`progress_bars` as a RunEngine's
`waiting_hook`.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from bluesky.utils import ProgressBarBase, ProgressBarManager
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

__all__ = ["ConsoleBar", "progress_bars"]

logger = logging.getLogger(__name__)

DELAY = 0.3
"""Seconds that a wait takes before it has a bar: most are shorter."""


def progress_bars(console: Console, delay: float = DELAY) -> Callable[[Any], None]:
    """Give a `waiting_hook` whose bars are drawn by a console.

    Parameters
    ----------
    console : rich.console.Console
        That of the :class:`~speckle_plugin.live.LiveTable`. One that is no terminal has no bars.
    delay : float
        Seconds that a wait takes before it has a bar.
    """
    return ProgressBarManager(lambda statuses: ConsoleBar(statuses, console, delay))


class ConsoleBar(ProgressBarBase):
    """The bars of one wait: one for each status that tells how far it is.

    A bar that fails is logged and left away; the plan goes on.

    Parameters
    ----------
    statuses : iterable of Status
        Those with a method `watch` are shown.
    console : rich.console.Console
    delay : float
        Seconds before they are drawn.
    """

    def __init__(self, statuses: Iterable[Any], console: Console, delay: float = DELAY) -> None:
        self._lock = threading.Lock()
        self._bars: dict[str, Any] = {}
        self._progress: Progress | None = None
        self._ended = False
        self._timer: threading.Timer | None = None
        watched = [s for s in statuses if hasattr(s, "watch") and not s.done] if console.is_terminal else []
        if not watched:
            return
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[told]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            transient=True,
        )
        self._timer = threading.Timer(delay, self._draw)
        self._timer.daemon = True
        self._timer.start()
        for number, status in enumerate(watched):
            status.watch(lambda *_, number=number, **told: self.update(number, **told))

    def update(self, pos: Any, *_: Any, **told: Any) -> None:
        """Take what a status says, by the names that bluesky's protocol has."""
        with self._lock:
            if self._ended or self._progress is None:
                return
            try:
                self._show(self._progress, f"{pos} {told.get('name')}", told)
            except Exception:
                self._ended = True
                logger.warning("a progress bar failed, and is left away", exc_info=True)

    def _show(self, progress: Progress, key: str, told: dict[str, Any]) -> None:
        name, current, initial, target = (told.get(k) for k in ("name", "current", "initial", "target"))
        whole, done, text = None, 0.0, ""
        if current is not None and initial is not None and target is not None:
            whole = float(np.linalg.norm(np.subtract(target, initial))) or 1.0
            done = min(float(np.linalg.norm(np.subtract(current, initial))), whole)
            text = f"{np.round(current, 4)} of {np.round(target, 4)} {told.get('unit') or ''}"
        if key not in self._bars:
            self._bars[key] = progress.add_task(str(name or ""), total=whole, told=text)
        progress.update(self._bars[key], total=whole, completed=done, told=text)

    def _draw(self) -> None:
        with self._lock:
            if not self._ended and self._progress is not None:
                self._progress.start()

    def clear(self) -> None:
        """End the wait: the bars disappear."""
        with self._lock:
            self._ended = True
            if self._timer is not None:
                self._timer.cancel()
            if self._progress is not None:
                self._progress.stop()
