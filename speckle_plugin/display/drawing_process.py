"""The process that draws the live figure: updates come through its standard input.

It ends when its input does, so that none outlives its session, and when its window is closed. It gives way
to everything else on the machine. What it has to say goes to its standard output: an :class:`Image` for a
notebook, or :class:`Trouble`.
"""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import time
from typing import IO

from speckle_plugin.display.answers import DRAWING, NO_WINDOW, Image, Trouble
from speckle_plugin.display.figure import SIZE, ScanFigure
from speckle_plugin.display.view import ScanView
from speckle_plugin.display.wire import pack_answer, read_update
from speckle_plugin.thread_priority import give_way_as_session

__all__ = ["Inbox", "main"]

NICENESS = 19
"""Of 19: it draws with what everything else leaves of the processors."""

LEAST_PAUSE = 0.1
"""Seconds between two drawings at least."""

IDLE_SHARE = 3.0
"""Times that a drawing took, for which the process rests after it."""

NOTEBOOK_DOTS_PER_INCH = 80


class Inbox:
    """The view that arriving updates make; taken when there is time to draw."""

    def __init__(self) -> None:
        self.ended = False
        self._view = ScanView()
        self._changed = threading.Condition()
        self._new = False

    def read(self, stream: IO[bytes]) -> None:
        """Add updates from a stream, until it ends."""
        try:
            while True:
                update = read_update(stream)
                with self._changed:
                    self._view.add(update)
                    self._new = True
                    self._changed.notify_all()
        except (EOFError, OSError, ValueError):
            with self._changed:
                self.ended = True
                self._changed.notify_all()

    def take(self, patience: float = 0.0) -> ScanView | None:
        """Give the view if it is new, waiting for that; None if it is not."""
        with self._changed:
            self._changed.wait_for(lambda: self._new or self.ended, patience)
            if not self._new:
                return None
            self._new = False
            return self._view.copy()


def main() -> None:
    """Draw until the input ends. The first argument is the place, `window` or `inline`."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the session
    os.nice(NICENESS)
    give_way_as_session(NICENESS)  # which is its own
    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints is no answer
    inbox = Inbox()
    threading.Thread(target=inbox.read, args=(sys.stdin.buffer,), daemon=True).start()
    try:
        if sys.argv[1] == "window":
            _draw_window(inbox)
        else:
            _draw_images(inbox, answers)
    except Exception as error:
        code = NO_WINDOW if isinstance(error, _NoWindowError) else DRAWING
        _answer(answers, Trouble(f"{error}" if code == NO_WINDOW else f"{type(error).__name__}: {error}"))
        os._exit(code)
    os._exit(0)  # the reading thread may be in the midst of an update


class _NoWindowError(RuntimeError):
    """Matplotlib has no way to open a window here."""


def _draw_window(inbox: Inbox) -> None:
    import matplotlib
    from matplotlib import pyplot

    try:
        window = pyplot.figure("live scan", figsize=SIZE)
    except Exception as error:  # of whichever toolkit
        raise _NoWindowError(f"no window can be opened: {error}") from error
    backend = matplotlib.get_backend().lower()
    if backend in ("agg", "pdf", "pgf", "ps", "svg", "template", "cairo"):
        raise _NoWindowError(
            f"matplotlib opens no windows here (its backend is {backend!r}): install a toolkit such as PyQt6 "
            "or tkinter, and leave MPLBACKEND unset"
        )
    figure = ScanFigure(window)
    figure.draw(ScanView())
    window.canvas.mpl_connect("resize_event", lambda _: figure.arrange())
    rests_until = 0.0

    def tick() -> None:
        nonlocal rests_until
        if inbox.ended:
            pyplot.close(window)
            return
        started = time.monotonic()
        if started < rests_until or (view := inbox.take()) is None:
            return
        figure.draw(view)
        window.canvas.draw()
        finished = time.monotonic()
        rests_until = finished + IDLE_SHARE * (finished - started)

    timer = window.canvas.new_timer(interval=int(LEAST_PAUSE * 1e3))
    timer.add_callback(tick)
    timer.start()
    pyplot.show(block=True)


def _draw_images(inbox: Inbox, answers: IO[bytes]) -> None:
    """Draw into PNG files for a notebook; the last view is drawn also after the input has ended."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    paper = Figure(figsize=SIZE, dpi=NOTEBOOK_DOTS_PER_INCH)
    FigureCanvasAgg(paper)
    figure = ScanFigure(paper)
    while True:
        view = inbox.take(patience=60.0)
        if view is not None:
            started = time.monotonic()
            figure.draw(view)
            png = io.BytesIO()
            paper.savefig(png, format="png")
            _answer(answers, Image(png.getvalue()))
            if not inbox.ended:
                time.sleep(max(LEAST_PAUSE, IDLE_SHARE * (time.monotonic() - started)))
        elif inbox.ended:
            return


def _answer(answers: IO[bytes], answer: Image | Trouble) -> None:
    answers.write(pack_answer(answer))
    answers.flush()


if __name__ == "__main__":
    main()
