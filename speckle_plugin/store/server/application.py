"""The Tiled application of a data directory, put together from Tiled's public pieces.

Only the server's process uses this module; importing it imports Tiled's server.
"""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Collection
from typing import Any

import duckdb
from bluesky_tiled_plugins.exporters import json_seq_exporter
from bluesky_tiled_plugins.routers import validator
from tiled.catalog import from_uri
from tiled.config import Authentication, StreamingCacheConfig
from tiled.media_type_registration import default_serialization_registry
from tiled.mimetypes import DEFAULT_ADAPTERS_BY_MIMETYPE
from tiled.server.app import build_app

from speckle_plugin.store.hidden_keys import hide_keys_in_logs
from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.server.access import (
    AllowedFiles,
    KeyRequired,
    RefuseWrites,
    RegisteredFiles,
    guarded_adapters,
)
from speckle_plugin.store.server.archives import archive_of, refusal
from speckle_plugin.store.server.frame_files import FrameFilesAdapter
from speckle_plugin.store.server.frame_folders import read_frame_folders
from speckle_plugin.store.server.location import Location
from speckle_plugin.store.server.upstream import catalog_file
from speckle_plugin.store.server.upstream.growing_arrays import AsManyAsExpected
from speckle_plugin.store.server.upstream.left_files import NothingLeft
from speckle_plugin.store.server.upstream.lighter_requests import inspect_dependencies_once
from speckle_plugin.store.server.upstream.new_files import register_in_bulk
from speckle_plugin.store.server.upstream.refusals import explain_refusals
from speckle_plugin.store.server.upstream.table_lock import one_at_a_time

__all__ = ["make_application"]


def make_application(location: Location, api_key: str, without: Collection[str] = ()) -> Any:
    """Make the application that serves a data directory.

    Parameters
    ----------
    location : Location
        The directory. Its databases are made if they are not there.
    api_key : str
        Secret that gives the right to read and write.
    without : collection of str
        What is left out, to measure what it is good for: "lighter_requests", "new_files".

    Raises
    ------
    StorageError
        If another program holds the tables.
    """
    if "new_files" not in without:
        register_in_bulk()
    if "lighter_requests" not in without:
        inspect_dependencies_once()
    # Before the application is built, or `run.documents()` answers 406.
    default_serialization_registry.register("BlueskyRun", "application/json-seq", json_seq_exporter)
    frames, tiled = location.name / "frames", location.name / "tiled"
    own = tiled / "data"
    own.mkdir(exist_ok=True)
    catalog_file.initialize(tiled / "catalog.db")
    check_tables(location)
    # Tiled compares paths as they are written: a folder that is a link has two.
    folders = [frames, *read_frame_folders(location.root)]
    readable = list(dict.fromkeys([*folders, *(folder.resolve() for folder in folders)]))
    tables = f"duckdb:///{tiled / 'storage.duckdb'}"
    databases = [tables.replace("duckdb:///", "duckdb://localhost/")]
    allowed = AllowedFiles([*readable, own], databases)
    adapters = ChainMap[str, Any]({"application/x-hdf5": FrameFilesAdapter}, DEFAULT_ADAPTERS_BY_MIMETYPE)
    tree = from_uri(
        str(tiled / "catalog.db"),
        writable_storage=[str(own), tables],
        readable_storage=[str(folder) for folder in readable],
        adapters_by_mimetype=guarded_adapters(adapters, allowed),
        cache_config=StreamingCacheConfig(uri="memory").model_dump(),
    )
    one_at_a_time(tree.context)
    app = build_app(
        tree,
        authentication=Authentication(single_user_api_key=api_key),
        server_settings={"expose_raw_assets": False},  # raw files pass no adapter, and so none of the checks
    )
    # Lets the server check a run by itself (`run.validate()`), without a round trip for each frame.
    app.include_router(validator.router, prefix="/custom")
    app.add_middleware(NothingLeft, folder=own)
    app.add_middleware(RegisteredFiles, own=AllowedFiles([own], databases), reach=location.reach)
    if (archive := archive_of(location.root)) is not None:
        app.add_middleware(RefuseWrites, reason=refusal(archive))
    app.add_middleware(KeyRequired, api_key=api_key)
    app.add_middleware(AsManyAsExpected)
    explain_refusals(app, allowed.refusal)
    hide_keys_in_logs()
    return app


def check_tables(location: Location) -> None:
    """See that no program that knows nothing of our lock holds the tables, and mend their indexes.

    The server opens them at the first write only, and would answer 500 in mid-scan.

    After a process was killed, DuckDB (1.5) takes the rows of its log into the tables, but
    loses them from the indexes if it is closed before these were used. Deleting such a row,
    as `replay` does, is then a fatal error. Making the indexes anew avoids it.

    Raises
    ------
    StorageError
        If another program holds the tables.
    """
    path = location.root / "tiled" / "storage.duckdb"
    if not path.exists():
        return
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
