"""Hand documents to those who save and show them, in order, on a thread of their own.

So neither the plan nor the classifier waits for a database or a terminal. Each
subscriber states what its failure means: one that saves must not fail unnoticed, one
that displays may.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from speckle_plugin.thread_priority import give_way

__all__ = ["Delivery"]

logger = logging.getLogger(__name__)

FLUSH_INTERVAL = 0.2
"""Seconds between flushes at least, so that frames that come fast are written together."""

BUSY_FLUSH_SHARE = 0.05
"""Part of the time that may go into flushing while frames wait for the classifier: the server works
on the cores that classify."""

LONGEST_QUEUE = 100_000
"""Documents that may wait; then who hands one over waits as well, so that memory stays bounded."""


@dataclass
class _Subscriber:
    function: Callable[[str, dict[str, Any]], Any]
    saves: bool
    failed: bool = False


class Delivery:
    """A queue of documents and the thread that empties it.

    Savers may have a method `flush()`: it is called when something is new, `FLUSH_INTERVAL` after it
    was done last. They so write a slow scan at once and a fast one in batches. They may
    have a method `record(name, doc)` for what must not wait: it is called before a document
    is queued, on the thread that hands it over.

    Parameters
    ----------
    clock : callable
        Gives the time in seconds.
    busy : callable
        Tells whether other work waits for the processor, so that flushes are to be rare.

    Attributes
    ----------
    seconds_writing : float
        Time spent in saving so far.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, busy: Callable[[], bool] = lambda: False
    ) -> None:
        self.seconds_writing = 0.0
        self._flushed = -math.inf
        self._flush_seconds = 0.0
        self._clock = clock
        self._busy = busy
        self._queue: queue.Queue[tuple[str, dict[str, Any], threading.Event | None] | None] = queue.Queue(
            LONGEST_QUEUE
        )
        self._order = threading.Lock()
        self._subscribers: dict[int, _Subscriber] = {}
        self._next_token = 0
        self._error: Exception | None = None
        self._flushed_hooks: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="speckle-delivery", daemon=True)
        self._thread.start()
        give_way(self._thread)

    def subscribe(self, function: Callable[[str, dict[str, Any]], Any], saves: bool = False) -> int:
        """Add a subscriber and return a token for :meth:`unsubscribe`.

        Parameters
        ----------
        function : callable
            Called with (name, document) on the delivery thread.
        saves : bool
            True where a failure must be raised in the scan; else it is logged, once.
        """
        self._next_token += 1
        self._subscribers[self._next_token] = _Subscriber(function, saves)
        return self._next_token

    def unsubscribe(self, token: int) -> None:
        """Remove a subscriber; an unknown token is ignored."""
        self._subscribers.pop(token, None)

    def on_flush(self, hook: Callable[[], None]) -> None:
        """Call `hook` whenever all that was delivered so far has been flushed, and no flush failed."""
        self._flushed_hooks.append(hook)

    def put(self, name: str, doc: dict[str, Any], delivered: threading.Event | None = None) -> None:
        """Queue a document; `delivered` is set when all subscribers have had it and flushed."""
        with self._order:
            for subscriber in list(self._subscribers.values()):
                if (record := getattr(subscriber.function, "record", None)) is not None:
                    self._call(subscriber, record, name, doc)
            self._queue.put((name, doc, delivered))

    def raise_error(self) -> None:
        """Raise, once, what a saving subscriber failed with."""
        error, self._error = self._error, None
        if error is not None:
            raise RuntimeError(
                f"the data of this scan can't be saved ({error}); free the disk or mend the server, "
                "then repeat it"
            ) from error

    def close(self, timeout: float = 10.0) -> None:
        """Deliver what is queued and end the thread."""
        self._queue.put(None)
        self._thread.join(timeout)

    def _run(self) -> None:
        dirty = False
        while True:
            patience = min(max(self._due() - self._clock(), 0.0), FLUSH_INTERVAL) if dirty else None
            try:
                item = self._queue.get(timeout=patience)
            except queue.Empty:
                if self._clock() >= self._due():
                    self._flush()
                    dirty = False
                continue
            if item is None:
                self._flush()
                return
            name, doc, delivered = item
            for subscriber in list(self._subscribers.values()):
                self._call(subscriber, subscriber.function, name, doc)
            dirty = True
            if delivered is not None or self._clock() > self._due():
                self._flush()
                dirty = False
            if delivered is not None:
                delivered.set()

    def _due(self) -> float:
        """Give the time from which on to flush again."""
        interval = self._flush_seconds / BUSY_FLUSH_SHARE if self._busy() else 0.0
        return self._flushed + max(FLUSH_INTERVAL, interval)

    def _flush(self) -> None:
        """Have all that was delivered saved."""
        started = self._clock()
        flushes = (
            (subscriber, getattr(subscriber.function, "flush", None))
            for subscriber in list(self._subscribers.values())
        )
        if all([self._call(subscriber, flush) for subscriber, flush in flushes if flush is not None]):
            for hook in self._flushed_hooks:
                hook()
        self._flushed = self._clock()
        self._flush_seconds = self._flushed - started

    def _call(self, subscriber: _Subscriber, function: Callable[..., Any], *args: Any) -> bool:
        """Call, tell whether it succeeded, and keep or log the error if it did not."""
        started = self._clock()
        try:
            function(*args)
            return True
        except Exception as error:
            if subscriber.saves:
                logger.exception("a document could not be saved")
                self._error = error
            elif not subscriber.failed:
                subscriber.failed = True
                logger.exception(
                    "%r failed on a %s document; the scan goes on, further failures of it are not logged",
                    subscriber.function,
                    args[0] if args else "flush",
                )
            return False
        finally:
            if subscriber.saves:
                self.seconds_writing += self._clock() - started
