"""Subscriptions to nodes of a Tiled server that come back by themselves when the server does.

Without a streaming cache on the server, or with a key that may only read on a server with users (Tiled makes
a short-lived key for each subscription), there is no word: whoever listens has to look from time to time too.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

__all__ = ["Listener"]

logger = logging.getLogger(__name__)

RETRY, LONGEST_RETRY = 1.0, 30.0
"""Seconds until a subscription that failed is tried again, at first and at most."""

LARGEST_MESSAGE = 64 * 2**20
"""Bytes; Tiled's own limit, 1 MB, ends a subscription at a flush of many rows."""


class Listener:
    """Listens to one node on threads of its own, until `close` or until the server says that no more comes.

    Parameters
    ----------
    subscribe : callable
        Gives a subscription of Tiled's client, not started.
    registries : sequence of str
        Which of its updates are wanted, such as `new_data`.
    tell : callable
        Takes an update.
    """

    def __init__(
        self, subscribe: Callable[[], Any], registries: tuple[str, ...], tell: Callable[[Any], object]
    ) -> None:
        self._subscribe, self._registries = subscribe, registries
        self._tell = tell
        self._heard = -float("inf")
        self._closing = threading.Event()
        self._subscription: Any = None
        self._thread = threading.Thread(target=self._run, name="speckle-listener", daemon=True)
        self._thread.start()

    @property
    def silence(self) -> float:
        """Seconds since the last word; infinite before the first."""
        return time.monotonic() - self._heard

    def _take(self, update: Any) -> None:
        self._heard = time.monotonic()
        try:
            self._tell(update)
        except Exception:
            logger.exception("an update of the Tiled server can't be used")

    def _run(self) -> None:
        wait = RETRY
        take = self._take  # Tiled keeps weak references
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                self._subscription = self._subscribe()
                for name in self._registries:
                    getattr(self._subscription, name).add_callback(take)
                # From as far back as the server knows, so that nothing falls between a look and this.
                self._subscription.start(0, max_size=LARGEST_MESSAGE)
                return  # the stream was closed: the run has ended
            except Exception as error:  # no streaming cache, no right to make keys, or the server is gone
                if self._closing.is_set():
                    return
                logger.info("no word from the Tiled server (%s): tried again", error)
            wait = RETRY if time.monotonic() - began > LONGEST_RETRY else min(2 * wait, LONGEST_RETRY)
            self._closing.wait(wait)

    def close(self) -> None:
        """Listen no more."""
        self._closing.set()
        if self._subscription is not None:
            self._subscription.disconnect(wait=False)
