"""Whether the Tiled server answers, said as the page says it."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

__all__ = ["Connection", "is_gone", "one_line"]


@dataclass(frozen=True)
class _Word:
    problem: str = ""
    since: float = 0.0


class Connection:
    """What is known of the server; set by whoever asks it, read by all pages."""

    def __init__(self) -> None:
        self._word = _Word()
        self._lock = threading.Lock()

    @property
    def problem(self) -> str:
        """What is wrong, in one line, or nothing."""
        word = self._word
        if not word.problem:
            return ""
        since = time.strftime("%H:%M:%S", time.localtime(word.since))
        return (
            f"The Tiled server does not answer since {since} ({word.problem}). It is asked again and again."
        )

    def works(self) -> None:
        """Note an answer."""
        self._word = _Word()

    def fails(self, error: Exception) -> None:
        """Note that there was none."""
        with self._lock:
            self._word = _Word(one_line(error), self._word.since or time.time())


def is_gone(error: BaseException) -> bool:
    """Tell whether an error is one of the server, or of the way to it, and not of what was asked."""
    import httpx

    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None)
    # 401 and 403: the key holds no more, as after a restart with another one.
    return isinstance(error, httpx.HTTPError | ConnectionError) and (
        status is None or status >= 500 or status in (401, 403)
    )


def one_line(error: BaseException) -> str:
    """Give what an error says, short enough for the page."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 200 else f"{text[:199]}…"
