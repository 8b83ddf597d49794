"""One thread at a time in the server's DuckDB.

Tiled (0.2.20) has all requests share one connection to it, from several threads. Each ends by
committing or rolling back what any of them has under way: who read a table while rows were
appended could undo them, or have them appended twice, or end the process by a segmentation
fault. `one_at_a_time` has a request wait until the one before it is done. It would end when Tiled
gives each request a connection of its own, or with tables in PostgreSQL.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from tiled.storage import EmbeddedSQLStorage, unregister_storage

__all__ = ["one_at_a_time"]

_lock = threading.RLock()


def one_at_a_time(context: Any) -> None:
    """Have the DuckDB of a catalog used so.

    Parameters
    ----------
    context : tiled.catalog.adapter.Context
        Of a catalog that is not started yet.
    """
    for uri, storage in context.writable_storage.items():
        if isinstance(storage, EmbeddedSQLStorage) and storage.dialect == "duckdb":
            unregister_storage(storage)
            context.writable_storage[uri] = context.readable_storage[uri] = _OneAtATime(uri)


class _Connection:
    """A connection that nobody else has until it is closed."""

    def __init__(self, connect: Any) -> None:
        _lock.acquire()
        try:
            self._connection = connect()
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


@dataclass(frozen=True)
class _OneAtATime(EmbeddedSQLStorage):
    """Tables whose connection one thread has at a time."""

    def connect(self) -> Any:
        return _Connection(super().connect)

    def dispose(self) -> None:
        """Close the connection when nobody uses it: Tiled's server does so before it ends its requests."""
        with _lock:
            super().dispose()
