"""Having a catalog follow its files to another folder.

Tiled (0.2.20) notes each file by its whole path, and has no command that changes them when a data directory
is moved, copied or restored from an archive. `rename_files` does, in the catalog's database, before the
server opens it. It would end with relative addresses of files in Tiled's catalog.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path

__all__ = ["former_roots", "rename_files"]

TABLES = "duckdb://localhost/"
STORAGE = "/tiled/storage.duckdb"


def former_roots(catalog: Path) -> list[str]:
    """Give the data directories that a catalog lay in, by the addresses of its tables."""
    if not catalog.exists():
        return []
    with closing(sqlite3.connect(catalog)) as connection:
        if not connection.execute("select 1 from sqlite_master where name = 'assets'").fetchone():
            return []
        rows = connection.execute(
            "select data_uri from assets where data_uri like ?", (f"{TABLES}%{STORAGE}",)
        ).fetchall()
    return [uri.removeprefix(TABLES).removesuffix(STORAGE) for (uri,) in rows]


def rename_files(catalog: Path, changes: Mapping[str, str]) -> None:
    """Change the beginnings of the addresses of files.

    Parameters
    ----------
    catalog : Path
        The database, which nobody else has open; nothing happens if it is not there.
    changes : mapping of str
        Old beginning -> new beginning.
    """
    if not catalog.exists():
        return
    begins = "substr(data_uri, 1, length(:old)) = :old"
    with closing(sqlite3.connect(catalog)) as connection, connection:
        if not connection.execute("select 1 from sqlite_master where name = 'assets'").fetchone():
            return
        for old, new in changes.items():
            names = {"old": old, "new": new}
            renamed = "update or ignore assets set data_uri = :new || substr(data_uri, length(:old) + 1)"
            connection.execute(f"{renamed} where {begins}", names)
            # What is left is noted by its new name as well: it belongs to that one.
            for number, uri in connection.execute(f"select id, data_uri from assets where {begins}", names):
                connection.execute(
                    "update or ignore data_source_asset_association "
                    "set asset_id = (select id from assets where data_uri = ?) where asset_id = ?",
                    (new + uri.removeprefix(old), number),
                )
