"""Second opinions during a scan: frames solved beside the network, on cores that it leaves free.

The classifying thread hands a frame over and goes on; processes of low priority solve it; its row comes
when it is known. Nothing waits for that but the end of a run, shortly. What is not solved then, for want of
time or memory or since a process died, is left, and is told so: `speckle solve` does it from the stored
frames.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.schema import NO_DISK_NUMBER, Asked, check_asked
from speckle_plugin.solving import FrameError, Outcome, SolverError, SolverPool, spare_cores
from speckle_plugin.solving.asked import AskedFrame, is_unsure, solve_task
from speckle_plugin.solving.pool import outcome_of
from speckle_plugin.solving.results import StructureResults, solver_configuration
from speckle_plugin.structure import SolveSettings, Structure

__all__ = ["RunOpinions", "SecondOpinion", "SecondOpinions"]

logger = logging.getLogger(__name__)

WHOLLY_NICE = 19
"""The processes run where others leave the processor free."""


@dataclass(frozen=True)
class SecondOpinion:
    """Which frames are solved beside the network, and what that may cost.

    Parameters
    ----------
    frames : {"none", "unsure", "all"}
        Those of which an opinion is asked. `unsure`: the network is less confident than `max_confidence`,
        or the frame has a flag. A plan may choose by the metadata ``classification={"second_opinion": ...}``.
    max_confidence : float
        Confidence from which on the network counts as sure, 0 to 1.
    workers : int, optional
        How many processes solve; by default half of the cores.
    wait : float
        Seconds, at the end of a run, for frames not solved yet; the rest is left.
    pending_bytes : int
        Most bytes of frames that may wait to be solved; more are left.
    solve : SolveSettings
        What is known of the frames.

    Raises
    ------
    ValueError
        If a setting is outside of its range.
    """

    frames: Asked = "none"
    max_confidence: float = 0.8
    workers: int | None = None
    wait: float = 2.0
    pending_bytes: int = 1 << 28
    solve: SolveSettings = field(default_factory=SolveSettings)

    def __post_init__(self) -> None:
        check_asked(self.frames)
        if not 0 <= self.max_confidence <= 1:
            raise ValueError(f"max_confidence must be a probability from 0 to 1, not {self.max_confidence}")
        if self.workers is not None and self.workers < 1:
            raise ValueError(f"workers must be 1 or more, or None, not {self.workers}")
        if self.wait < 0 or self.pending_bytes < 0:
            raise ValueError("wait and pending_bytes must not be negative")


class SecondOpinions:
    """The second opinions of all runs of a live classifier.

    Parameters
    ----------
    settings : SecondOpinion
    frames : FrameSettings
        What the user said about frames; it is recorded with the results.
    """

    def __init__(self, settings: SecondOpinion, frames: FrameSettings) -> None:
        self.settings = settings
        self.frames = frames
        self._pool: SolverPool | None = None
        self._lock = threading.Lock()
        if settings.frames != "none":
            self.pool.start()

    @property
    def pool(self) -> SolverPool:
        """The processes, which are made when they are needed first."""
        with self._lock:
            if self._pool is None:
                self._pool = SolverPool(self.settings.workers or spare_cores(), niceness=WHOLLY_NICE)
            return self._pool

    def open_run(
        self,
        start: Mapping[str, Any],
        emit: Callable[[str, Any], None],
        lock: threading.Condition,
        emitted: Callable[[], None] = lambda: None,
    ) -> RunOpinions | None:
        """Give what asks for opinions of a run; None if none is wanted.

        Parameters
        ----------
        start : mapping
            Its start document, which may choose the frames.
        emit : callable
            Given (name, document) with the lock held.
        lock : threading.Condition
            Held by who calls the run's methods; it is notified when an opinion has come.
        emitted : callable
            Called without the lock when documents were emitted.
        """
        choices = start.get("classification")
        chosen: Any = choices.get("second_opinion") if isinstance(choices, Mapping) else None
        asked = self.settings.frames
        if chosen in get_args(Asked):
            asked = chosen
        return None if asked == "none" else RunOpinions(self, asked, start, emit, lock, emitted)

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            if self._pool is not None:
                self._pool.close()


class RunOpinions:
    """The second opinions of one run. Made by :meth:`SecondOpinions.open_run`; its lock is to be held."""

    def __init__(
        self,
        opinions: SecondOpinions,
        asked: Asked,
        start: Mapping[str, Any],
        emit: Callable[[str, Any], None],
        lock: threading.Condition,
        emitted: Callable[[], None],
    ) -> None:
        self._opinions, self._asked, self._lock, self._emitted = opinions, asked, lock, emitted
        self._settings = opinions.settings
        configuration = solver_configuration(
            asked,
            self._settings.max_confidence,
            self._settings.solve,
            opinions.frames.to_configuration(),
        )
        self._results = StructureResults(start, emit, self._settings.solve, configuration)
        self._waiting: dict[AskedFrame, Future[Structure]] = {}
        self._bytes = 0
        self._closed = False

    def expect(self, reference: FrameReference) -> None:
        """Count a frame that was measured, if an opinion of all of them is wanted."""
        if self._asked == "all":
            self._results.expect(_asked_frame(reference))

    def ask(
        self,
        reference: FrameReference,
        result: FrameResult,
        pixels: NDArray[Any] | OSError,
        class_names: Sequence[str] = (),
    ) -> None:
        """Have a frame solved that the network looked at, if that is wanted.

        With names for its classes, the network's label is no disk number with which the answer may disagree.
        """
        unsure = is_unsure(result.status, result.confidence, result.flags, self._settings.max_confidence)
        if self._closed or not (unsure or self._asked == "all"):
            return
        frame = _asked_frame(reference, NO_DISK_NUMBER if class_names else result.disk_number)
        self._results.expect(frame)
        task = solve_task(reference.detector, pixels, self._settings.solve)
        if isinstance(task, FrameError):
            self._results.close_frame(frame, task)
            return
        size = task.frame.nbytes
        if self._bytes + size > self._settings.pending_bytes:
            self._results.close_frame(frame, "more frames waited to be solved than pending_bytes allows")
            return
        # A copy, or one frame would keep all those in memory that were read with it.
        future = self._opinions.pool.submit(replace(task, frame=np.array(task.frame)))
        self._bytes += size
        self._waiting[frame] = future
        future.add_done_callback(lambda done: self._take(frame, size, done))

    def _take(self, frame: AskedFrame, size: int, future: Future[Structure]) -> None:
        """Emit an opinion, on the thread that has it."""
        if future.cancelled():
            return
        outcome: Outcome = outcome_of(future)
        if isinstance(outcome, SolverError):
            logger.warning("frame %d of %s is left unsolved: %s", frame.frame_index, frame.image_key, outcome)
        with self._lock:
            self._waiting.pop(frame, None)
            self._bytes -= size
            if not self._closed:
                self._results.close_frame(frame, outcome)
            self._lock.notify_all()
        self._emitted()

    def stop(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        """Wait shortly, leave what is not solved, and give the stop document with the summary added."""
        self._lock.wait_for(lambda: not self._waiting, self._settings.wait)
        self._closed = True
        for future in list(self._waiting.values()):
            future.cancel()
        self._results.leave_outstanding(f"not solved {self._settings.wait:g} s after the end of the run")
        return self._results.stop(doc)


def _asked_frame(reference: FrameReference, label: int = 0) -> AskedFrame:
    return AskedFrame(
        reference.detector.image_key, int(reference.frame_index), int(reference.seq_num), int(label)
    )
