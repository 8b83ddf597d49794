"""Documents of ours on their way to delivery: composed under a lock, handed over without it.

Journals and a full queue may have to be waited for. That must not happen while the pipeline's lock is held,
which the RunEngine's thread needs, and the classifying one; and yet the order in which the documents were
composed has to stay.
"""

from __future__ import annotations

import threading
from collections import deque
from typing import Any

from speckle_plugin.live.delivery import Channel, Delivery

__all__ = ["Outbox"]


class Outbox:
    """Keeps documents until they are handed over, in the order in which they were added.

    Parameters
    ----------
    delivery : Delivery
        Where they go.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._documents: deque[tuple[str, dict[str, Any], threading.Event | None, Channel]] = deque()
        self._handing_over = threading.Lock()

    def add(
        self, channel: Channel, name: str, doc: dict[str, Any], delivered: threading.Event | None = None
    ) -> None:
        """Take a document of a run, whose place in the order is settled by that.

        Parameters
        ----------
        channel : Channel
            That of the run.
        name, doc
            The document.
        delivered : threading.Event, optional
            Set when all subscribers have had it, and flushed.
        """
        self._documents.append((name, doc, delivered, channel))

    def hand_over(self) -> None:
        """Hand over what was added. To be called without any lock, after each `add`.

        One thread does so at a time, also for the others, which need not wait for it.
        """
        while self._documents and self._handing_over.acquire(blocking=False):
            try:
                while self._documents:
                    name, doc, delivered, channel = self._documents.popleft()
                    self._delivery.put(name, doc, delivered, [channel])
            finally:
                self._handing_over.release()
