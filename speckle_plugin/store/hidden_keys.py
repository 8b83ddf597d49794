"""Keeping API keys out of logs, in the server's process and in those of its clients."""

from __future__ import annotations

import logging
import re

__all__ = ["hide_keys_in_logs"]


class _HideKeys(logging.Filter):
    """Takes the API key out of addresses and headers."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                re.sub(r"(api_key=|Apikey )[^&;\s]+", r"\1...", value) if isinstance(value, str) else value
                for value in record.args
            )
        return True


_hide_keys = _HideKeys()


def hide_keys_in_logs() -> None:
    """Keep keys out of the log of requests, and out of that of subscriptions when debugging."""
    for name in ("uvicorn.access", "uvicorn.error", "websockets.client", "websockets.server"):
        logging.getLogger(name).addFilter(_hide_keys)  # adding it again does nothing
