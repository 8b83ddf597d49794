"""Hand documents to those who save and show them, in order, on a thread of their own.

So neither the plan nor the classifier waits for a database or a terminal. Each
subscriber states what its failure means: one that saves must not fail unnoticed, one
that displays may.

A subscriber is a callable. What more it can do, it says by having the methods of :class:`RunSubscriber`,
:class:`Recorder` or :class:`Flushable`.
"""

from __future__ import annotations

import logging
import math
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from speckle_plugin.thread_priority import give_way

__all__ = ["Callback", "Channel", "Delivery", "Flushable", "Recorder", "RunSubscriber"]

logger = logging.getLogger(__name__)

FLUSH_INTERVAL = 0.2
"""Seconds between flushes at least, so that frames that come fast are written together."""

BUSY_FLUSH_SHARE = 0.05
"""Part of the time that may go into flushing while frames wait for the classifier: the server works
on the cores that classify."""

LONGEST_QUEUE = 100_000
"""Documents that may wait; then who hands one over waits as well, so that memory stays bounded."""


Callback = Callable[[str, dict[str, Any]], Any]
"""Takes documents as bluesky's callbacks do."""


@runtime_checkable
class RunSubscriber(Protocol):
    """A subscriber that keeps an object for each run: that gets the run's documents, routed already."""

    def open_run(self, start: Mapping[str, Any], /) -> Callback:
        """Give what takes the documents of a run, from its start document on."""


@runtime_checkable
class Recorder(Protocol):
    """A subscriber, or what it keeps of a run, that must have a document before it is queued."""

    def record(self, name: str, doc: Mapping[str, Any], /) -> None:
        """Take a document on the thread that hands it over."""


@runtime_checkable
class Flushable(Protocol):
    """A subscriber that collects documents, and writes them when it is told to."""

    def flush(self) -> None:
        """Write what was collected."""


Channel = dict[int, Callback]
"""What the subscribers keep of one run, by their tokens. It is empty before the start document."""


@dataclass
class _Subscriber:
    function: Callback
    saves: bool
    failed: bool = False

    def functions(self, token: int, channels: Sequence[Channel]) -> list[Callback]:
        """Give what takes a document of the runs of these channels."""
        return [channel[token] for channel in channels if token in channel] or [self.function]


@dataclass
class _Item:
    """A document in the queue, the runs it belongs to, and what is set when it is delivered."""

    name: str
    doc: dict[str, Any]
    channels: Sequence[Channel]
    delivered: threading.Event | None


class Delivery:
    """A queue of documents and the thread that empties it.

    A :class:`Flushable` subscriber is flushed when something is new, `FLUSH_INTERVAL` after it was done
    last. So a slow scan is written at once and a fast one in batches. A :class:`Recorder` has each document
    before it is queued, on the thread that hands it over.

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
        self._queue: queue.Queue[_Item | None] = queue.Queue(LONGEST_QUEUE)
        self._order = threading.Lock()
        self._subscribers: dict[int, _Subscriber] = {}
        self._next_token = 0
        self._error: Exception | None = None
        self._flushed_hooks: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run, name="speckle-delivery", daemon=True)
        self._thread.start()
        give_way(self._thread)

    def subscribe(self, function: Callback, saves: bool = False) -> int:
        """Add a subscriber and return a token for :meth:`unsubscribe`.

        Parameters
        ----------
        function : callable
            Called with (name, document) on the delivery thread; for a :class:`RunSubscriber`, what it
            keeps of the run is called instead.
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

    def put(
        self,
        name: str,
        doc: dict[str, Any],
        delivered: threading.Event | None = None,
        channels: Sequence[Channel] = (),
    ) -> None:
        """Queue a document. It may wait for the disk, and for room in the queue.

        Parameters
        ----------
        name, doc
            The document.
        delivered : threading.Event, optional
            Set when all subscribers have had the document, and flushed.
        channels : sequence of Channel
            Those of the runs that it belongs to; without any, subscribers have to find out.
        """
        with self._order:
            for token, subscriber in list(self._subscribers.items()):
                if not isinstance(subscriber.function, Recorder):
                    continue
                if name == "start":
                    self._open_run(token, subscriber, doc, channels)
                for function in subscriber.functions(token, channels):
                    if isinstance(function, Recorder):
                        self._call(subscriber, function.record, name, doc)
            self._queue.put(_Item(name, doc, channels, delivered))

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
            self._deliver(item)
            dirty = True
            if item.delivered is not None or self._clock() > self._due():
                self._flush()
                dirty = False
            if item.delivered is not None:
                item.delivered.set()

    def _deliver(self, item: _Item) -> None:
        for token, subscriber in list(self._subscribers.items()):
            if item.name == "start" and not isinstance(subscriber.function, Recorder):
                self._open_run(token, subscriber, item.doc, item.channels)
            for function in subscriber.functions(token, item.channels):
                self._call(subscriber, function, item.name, item.doc)

    def _open_run(
        self, token: int, subscriber: _Subscriber, start: dict[str, Any], channels: Sequence[Channel]
    ) -> None:
        """Have a subscriber begin what it keeps of a run, if it keeps any."""
        function = subscriber.function
        if not isinstance(function, RunSubscriber):
            return
        for channel in channels:

            def keep(_: str, start: dict[str, Any], channel: Channel = channel) -> None:
                channel[token] = function.open_run(start)

            self._call(subscriber, keep, "start", start)

    def _due(self) -> float:
        """Give the time from which on to flush again."""
        interval = self._flush_seconds / BUSY_FLUSH_SHARE if self._busy() else 0.0
        return self._flushed + max(FLUSH_INTERVAL, interval)

    def _flush(self) -> None:
        """Have all that was delivered saved."""
        started = self._clock()
        flushed = True
        for subscriber in list(self._subscribers.values()):
            if isinstance(function := subscriber.function, Flushable):
                flushed &= self._call(subscriber, function.flush)
        if flushed:
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
