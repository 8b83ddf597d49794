"""Making the catalog's database in this process.

Tiled (0.2.20) starts a Python process that imports Tiled again each time a catalog is opened with
`init_if_not_exists`, to look whether there is something to initialize: five seconds of processor.
`initialize` does what that process does (`tiled catalog init`), and nothing where the catalog is current.
It would end when Tiled looks before it starts that process ("TODO Check if catalog exists").
"""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine
from tiled.alembic_utils import stamp_head
from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
from tiled.catalog.core import initialize_database
from tiled.utils import ensure_specified_sql_driver

__all__ = ["initialize"]


def initialize(catalog: Path) -> None:
    """Make a catalog if it is not there. No event loop may run in this thread."""
    if _revision(catalog) is not None:
        return  # if it is an older one, Tiled says at its start what to do
    uri = ensure_specified_sql_driver(str(catalog))

    async def make() -> None:
        engine = create_async_engine(uri)
        try:
            await initialize_database(engine)
        finally:
            await engine.dispose()

    asyncio.run(make())
    stamp_head(ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, uri)


def _revision(catalog: Path) -> str | None:
    if not catalog.exists():
        return None
    try:
        with closing(sqlite3.connect(catalog)) as connection:
            rows = connection.execute("select version_num from alembic_version").fetchall()
    except sqlite3.OperationalError:
        return None
    return rows[0][0] if rows else None
