"""One thread at a time in the server's DuckDB.

Tiled (0.2.20) has all requests share one connection to it, from several threads. Each ends by
committing or rolling back what any of them has under way: who read a table while rows were
appended could undo them, or have them appended twice, or end the process by a segmentation
fault. `lock_tables` has a request wait until the one before it is done.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import threading
from typing import Any

from tiled.storage import SQLStorage

__all__ = ["lock_tables"]

_connect, _dispose = SQLStorage.connect, SQLStorage.dispose
_lock = threading.RLock()


def lock_tables() -> None:
    """Have every server of this process use its DuckDB so. Calling it again changes nothing."""
    SQLStorage.connect, SQLStorage.dispose = _connect_alone, _dispose_alone


class _Connection:
    """A connection that nobody else has until it is closed."""

    def __init__(self, storage: SQLStorage) -> None:
        _lock.acquire()
        try:
            self._connection = _connect(storage)
        except BaseException:
            _lock.release()
            raise

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)

    def close(self) -> None:
        try:
            self._connection.close()
        finally:
            _lock.release()


def _connect_alone(self: SQLStorage) -> Any:
    return _Connection(self) if self.dialect == "duckdb" else _connect(self)


def _dispose_alone(self: SQLStorage) -> None:
    """Close the connection when nobody uses it: Tiled's server does so before it ends its requests."""
    with _lock:
        _dispose(self)
