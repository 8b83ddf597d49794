"""Remembers whether the Tiled server is gone, so that not every run has to find it out again.

Each attempt on a server that is gone costs seconds; a journal costs none.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["Outage"]

LOOK_INTERVAL = 5.0
"""Seconds between looking whether the server is back."""

LOOK_TIMEOUT = 1.0
"""Seconds that it then has to answer."""


class Outage:
    """Whether the server of a catalog is gone.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        The catalog.
    clock : callable
        For tests.

    Attributes
    ----------
    error : Exception or None
        What showed that the server is gone; None while it is believed to be there.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, clock: Callable[[], float] = time.monotonic) -> None:
        self.error: Exception | None = None
        self._runs = runs
        self._clock = clock
        self._next_look = 0.0

    def note(self, error: Exception) -> None:
        """Take note of a failure; most are of one run, those of the connection are of the server."""
        import httpx

        # Proxies answer so for a server that is gone.
        gone = isinstance(error, httpx.HTTPStatusError) and error.response.status_code in (502, 503, 504)
        if gone or isinstance(error, httpx.TransportError | ConnectionError):
            self.error = error
            self._next_look = self._clock() + LOOK_INTERVAL

    def lasts(self) -> bool:
        """Tell whether the server is still gone, looking again at most once in an interval."""
        if self.error is None:
            return False
        if self._clock() >= self._next_look:
            self._next_look = self._clock() + LOOK_INTERVAL
            return not self.answers()
        return True

    def answers(self) -> bool:
        """Ask the server now whether it is there; when it is, the outage is over for everybody."""
        there = self._answers()
        if there:
            self.error = None
        return there

    def _answers(self) -> bool:
        """Ask once: Tiled's own client would try again and again."""
        import httpx

        context = self._runs.context
        try:
            response = context.http_client.get(str(context.api_uri), timeout=LOOK_TIMEOUT)
        except httpx.HTTPError:
            return False
        return bool(response.status_code < 500)
