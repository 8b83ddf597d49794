"""The Tiled server inside this process, with what bluesky runs need of it.

Only `TiledStore` uses this module; it holds the dealings with Tiled's server and DuckDB.
"""

from __future__ import annotations

import gc
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speckle_plugin.store.lock import StorageError
from speckle_plugin.thread_priority import give_way

if TYPE_CHECKING:
    from tiled.server import SimpleTiledServer

__all__ = ["keep_out_of_collections", "start_server"]

_SHUTDOWN_TIMEOUT = 3
"""Seconds that requests and subscriptions have to end when the server closes; without a
limit a single open subscription would keep it, and the interpreter, from ending."""


def start_server(directory: Path, *, readable: Path, api_key: str, port: int = 0) -> SimpleTiledServer:
    """Start a server on the databases in a directory, on the loopback interface.

    Parameters
    ----------
    directory : Path
        Holds the databases; they are made on first use.
    readable : Path
        The folder of frames that the server may read.
    api_key : str
        Secret that gives the right to read and write.
    port : int
        0 for a free one.

    Raises
    ------
    StorageError
        If the databases are open elsewhere, or the server does not start.
    """
    from bluesky_tiled_plugins.exporters import json_seq_exporter
    from bluesky_tiled_plugins.routers import validator
    from tiled.media_type_registration import default_serialization_registry
    from tiled.server import SimpleTiledServer
    from tiled.server.settings import get_settings

    from speckle_plugin.store.server.access import hide_keys_in_logs
    from speckle_plugin.store.server.upstream.lighter_requests import inspect_dependencies_once
    from speckle_plugin.store.server.upstream.new_files import register_in_bulk
    from speckle_plugin.store.server.upstream.table_lock import lock_tables

    register_in_bulk()
    lock_tables()
    inspect_dependencies_once()
    # Before the server is built, or `run.documents()` answers 406.
    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
    # Servers of one process share this object, and the key of the last one would be everyone's.
    get_settings.cache_clear()
    _check_tables(directory / "storage.duckdb")
    try:
        with _initialized(directory / "catalog.db"), _guarded(api_key, readable, directory / "data"):
            server = SimpleTiledServer(directory, api_key=api_key, port=port, readable_storage=[readable])
    except Exception as error:
        raise StorageError(
            f"the Tiled server did not start on {directory}: {error}. Its own messages are in "
            f"{directory / 'error.log'}"
        ) from error
    hide_keys_in_logs()
    # Lets the server check a run by itself (`run.validate()`), without a round trip for each frame.
    server.app.include_router(validator.router, prefix="/custom")
    server._server.config.timeout_graceful_shutdown = _SHUTDOWN_TIMEOUT
    give_way(server._server.thread)
    return server


def keep_out_of_collections() -> Callable[[], None]:
    """Have the garbage collector leave alone what is alive now; call what comes back to end that.

    Requests make many objects that live on for a while, so that full collections are frequent, and each
    goes through all objects of all imported modules: a third of the time of a request.
    """
    gc.collect()
    gc.freeze()
    return gc.unfreeze


def _check_tables(path: Path) -> None:
    """See that no program that knows nothing of our lock holds the tables, and mend their indexes.

    The server opens them at the first write only, and would answer 500 in mid-scan.

    After a process was killed, DuckDB (1.5) takes the rows of its log into the tables, but
    loses them from the indexes if it is closed before these were used. Deleting such a row,
    as `replay` does, is then a fatal error. Making the indexes anew avoids it.
    """
    if not path.exists():
        return
    import duckdb

    killed = path.with_name(path.name + ".wal").exists()
    try:
        with duckdb.connect(str(path)) as connection:
            if killed:
                indexes = connection.execute("select index_name, sql from duckdb_indexes()").fetchall()
                for name, statement in indexes:
                    connection.execute(f'drop index "{name}"')
                    connection.execute(statement)
    except duckdb.IOException as error:
        raise StorageError(
            f"the tables in {path} are open in another program, perhaps a Tiled server of its own: end it "
            f"first. DuckDB says: {error}"
        ) from error


@contextmanager
def _initialized(catalog: Path) -> Iterator[None]:
    """Leave out Tiled's initialization of a catalog that is up to date.

    Tiled starts a Python process each time to look whether there is something to
    initialize. That took 5 of the 6.5 seconds of opening a store; one query tells as much.
    """
    import tiled.catalog

    if not _is_current(catalog):
        yield
        return
    from_uri = tiled.catalog.from_uri

    def open_only(*arguments: Any, **options: Any) -> Any:
        return from_uri(*arguments, **{**options, "init_if_not_exists": False})

    tiled.catalog.from_uri = open_only
    try:
        yield
    finally:
        tiled.catalog.from_uri = from_uri


@contextmanager
def _guarded(api_key: str, frames: Path, own: Path) -> Iterator[None]:
    """Have the application of a server guarded before the server answers its first request."""
    import tiled.server.app

    from speckle_plugin.store.server.access import guard_app
    from speckle_plugin.store.server.upstream.growing_arrays import AsManyAsExpected

    build_app = tiled.server.app.build_app
    guarded = guard_app(build_app, api_key=api_key, frames=frames, own=own)

    def build(*arguments: Any, **options: Any) -> Any:
        app = guarded(*arguments, **options)
        app.add_middleware(AsManyAsExpected)
        return app

    tiled.server.app.build_app = build
    try:
        yield
    finally:
        tiled.server.app.build_app = build_app


def _is_current(catalog: Path) -> bool:
    from tiled.catalog.core import REQUIRED_REVISION

    if not catalog.exists():
        return False
    try:
        with closing(sqlite3.connect(catalog)) as connection:
            rows = connection.execute("select version_num from alembic_version").fetchall()
    except sqlite3.Error:
        return False
    return rows == [(REQUIRED_REVISION,)]
