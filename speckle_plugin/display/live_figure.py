"""The session's end of the live figure: collects what is new, and sends it to the process that draws.

The pipeline's threads put results and frames down here, and go on. A thread of low priority sends the
newest of them a few times a second, and never takes more than a small part of a core. What the drawing
process does, or fails to do, reaches nothing but that thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NamedTuple

from numpy.typing import NDArray

from speckle_plugin.display.answers import NO_WINDOW
from speckle_plugin.display.follower import RunFollower
from speckle_plugin.display.notebook import ImageOutput, NotebookImage
from speckle_plugin.display.place import Place
from speckle_plugin.display.process import DrawingProcess, drawing_command
from speckle_plugin.display.thinning import make_picture, thin
from speckle_plugin.display.view import MOST_POINTS, Picture, Point, Progress, ScanHead, Update
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.documents.routing import RunCallback
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.thread_priority import give_way

__all__ = ["LiveFigure"]

logger = logging.getLogger(__name__)

LEAST_INTERVAL = 0.2
"""Seconds between two updates at least."""

LARGEST_SHARE = 0.01
"""Part of a core that collecting and sending may take."""

LONGEST_INTERVAL = 1.0
"""Seconds after which the figure is told how many frames wait, also if nothing is new."""

PATIENCE = 20.0
"""Seconds after which a process hangs that does not take what it is sent."""

CLOSING = 5.0
"""Seconds that closing waits for the last drawing."""


class _Seen(NamedTuple):
    uid: str
    reference: FrameReference
    thinned: NDArray[Any]
    step: int
    result: FrameResult


class _Scan:
    """What was collected of a run."""

    def __init__(self, head: ScanHead) -> None:
        self.head = head
        self.points: deque[Point] = deque(maxlen=MOST_POINTS)
        self.count = 0
        self.latency = 0.0
        self.ended = ""


class LiveFigure(RunCallback[RunFollower]):
    """A figure of the newest run, in a process of its own.

    Subscribe it to a LiveClassifier, and have that call :meth:`see` with its frames. The process starts with
    the first result. If its window is closed, it stays closed until :meth:`open`; if it crashes or hangs,
    another one starts with the next run.

    Parameters
    ----------
    place : {"window", "inline"}
    backlog : callable
        Gives the number of frames that wait for the network, and the seconds that the oldest has waited.
    command : callable
        Gives the command of the process that draws, for a place.
    images : ImageOutput
        Takes the images of an inline figure.
    patience : float
        Seconds that the process may take for an update; after that it hangs, and the next run ends it.
    """

    def __init__(
        self,
        place: Place,
        backlog: Callable[[], tuple[int, float]] = lambda: (0, 0.0),
        command: Callable[[Place], list[str]] = drawing_command,
        images: ImageOutput | None = None,
        patience: float = PATIENCE,
    ) -> None:
        super().__init__()
        self.place: Place = place
        self._backlog, self._command, self._patience = backlog, command, patience
        self._images = NotebookImage() if images is None else images
        self._changed = threading.Condition()
        self._scan: _Scan | None = None
        self._seen: _Seen | None = None
        self._picture: Picture | None = None
        self._process: DrawingProcess | None = None
        self._sent: tuple[str, int] = ("", 0)
        self._started_in = ""
        self._new = False
        self._told: set[str] = set()
        self._asked_for = False
        self._closed_by_user = False
        self._failed = False
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="speckle-figure", daemon=True)
        self._thread.start()
        give_way(self._thread)

    # Called by the pipeline's threads: they put something down, and go on

    def open_run(self, start: Mapping[str, Any]) -> RunFollower:
        """Follow a run."""
        return RunFollower(start, self)

    def see(self, uid: str, reference: FrameReference, frame: NDArray[Any], result: FrameResult) -> None:
        """Take a frame with its result; a newer one takes its place."""
        if frame.ndim == 2 and frame.size and frame.dtype.kind in "biuf":
            thinned, step = thin(frame)
            with self._changed:
                self._seen = _Seen(uid, reference, thinned, step, result)
                self._new = True
                self._changed.notify_all()

    def begin(self, head: ScanHead) -> None:
        """Show this run from now on."""
        with self._changed:
            self._scan, self._picture = _Scan(head), None
            self._failed = False
            self._give_up_if_hung()
        self._images.begin()

    def add(self, uid: str, point: Point, latency: float) -> None:
        """Add the result of a frame."""
        with self._changed:
            scan = self._scan
            if scan is not None and scan.head.uid == uid:
                scan.points.append(point)
                scan.count += 1
                scan.latency = latency
                self._new = True
                self._changed.notify_all()

    def end(self, uid: str, told: str) -> None:
        """Say what became of a run."""
        with self._changed:
            if self._scan is not None and self._scan.head.uid == uid:
                self._scan.ended = told
                self._new = True
                self._changed.notify_all()

    # Called by the user

    def open(self) -> None:
        """Open the figure again after its window was closed; it shows the newest run."""
        with self._changed:
            self._closed_by_user = self._failed = False
            self._asked_for = self._new = True
            self._told.clear()
            self._give_up_if_hung()
            self._changed.notify_all()
        self._images.begin()

    def close(self) -> None:
        """Close the figure, after its last drawing; it waits a few seconds for that at most."""
        with self._changed:
            self._closing = True
            process = self._process
            self._changed.notify_all()
        if process is not None and self.place == "window":
            process.kill()
        self._thread.join(CLOSING)
        if process is not None:
            process.wait(CLOSING if not self._thread.is_alive() else 0.0)
            process.kill()
            process.wait(CLOSING)

    def _give_up_if_hung(self) -> None:
        process = self._process
        if process is not None and process.seconds_blocked > self._patience:
            logger.warning("the live figure does not answer: it is ended, and another one begins")
            self._process = None
            process.kill()

    @property
    def closed_by_user(self) -> bool:
        """Whether its window was closed, so that it opens no more by itself."""
        return self._closed_by_user

    @property
    def process_id(self) -> int | None:
        """The id of the process that draws; None while there is none."""
        process = self._process
        return None if process is None else process.pid

    # The thread that sends

    def _work(self) -> None:
        pause = 0.0
        while self._wait(pause):
            begun = time.thread_time()
            self._send()
            pause = max(LEAST_INTERVAL, (time.thread_time() - begun) / LARGEST_SHARE)
        if self._new:
            self._send()
        if self._process is not None:
            self._process.finish()

    def _wait(self, pause: float) -> bool:
        """Rest, then wait until there is something to send; tell whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closing, pause)
            goes_on = self._scan is not None and not self._scan.ended
            patience = LONGEST_INTERVAL if goes_on else None
            self._changed.wait_for(lambda: self._new or self._closing, patience)
            return not self._closing

    def _send(self) -> None:
        """Send what is new. Whatever fails ends here: it is the figure's trouble only."""
        with self._changed:
            self._new = False
            unseen = self._scan is None and not self._asked_for
            if unseen or self._closed_by_user or self._failed:
                self._seen = None
                return
        process = self._process
        try:
            if process is None:
                process = self._process = self._start()
            process.send(self._compose())
        except OSError as error:
            if process is None:
                self._fail(f"it can't be started: {error}")
            # Else the process has ended, and its end will say why.
        except Exception as error:
            logger.debug("the live figure failed", exc_info=True)
            self._fail(f"{type(error).__name__}: {error}")

    def _start(self) -> DrawingProcess:
        self._sent = ("", 0)
        self._started_in = self._run_uid()
        return DrawingProcess(self._command(self.place), self._images.show, self._ended)

    def _run_uid(self) -> str:
        scan = self._scan
        return "" if scan is None else scan.head.uid

    def _compose(self) -> Update:
        waiting, waited = self._backlog()
        with self._changed:
            scan, seen, self._seen = self._scan, self._seen, None
            if scan is None:
                return Update()
            uid, sent = self._sent
            begins = uid != scan.head.uid
            fresh = scan.count - (0 if begins else sent)
            points = list(islice(scan.points, max(len(scan.points) - fresh, 0), None))
            self._sent = (scan.head.uid, scan.count)
            progress = Progress(scan.count, waiting, waited, scan.latency, scan.ended)
            if seen is not None and seen.uid != scan.head.uid:
                self._seen, seen = self._seen or seen, None  # its run's first result is on its way
        picture = self._picture if begins else None
        if seen is not None:
            picture = self._picture = make_picture(*seen[1:])
        return Update(scan.head if begins else None, points, picture, progress)

    def _ended(self, process: DrawingProcess) -> None:
        """Take the end of a process, on its thread."""
        with self._changed:
            if self._process is not process:
                return
            self._process = None
            if self._closing:
                return
            if process.exit_code == 0:
                self._closed_by_user = True
                return
            told = process.trouble or f"its process ended with the exit code {process.exit_code}"
            if process.exit_code != NO_WINDOW and self._started_in != self._run_uid():
                # It was of an earlier run: this one has another one, once.
                logger.warning("the live figure stopped: %s; another one begins", told)
                self._new = True
                self._changed.notify_all()
                return
        if process.exit_code == NO_WINDOW:
            self._fail(process.trouble)
        else:
            self._fail(f"{told}; it begins again with the next run")

    def _fail(self, why: str) -> None:
        with self._changed:
            self._failed = True
        if why not in self._told:
            self._told.add(why)
            logger.warning("there is no live figure, the scan goes on: %s", why)
