"""What Tiled's tables in SQLite and in DuckDB do with the rows of scans: which database the server gets.

Two processes append rows to tables of their own; then the two kinds of columns that scans have and a
table may refuse. Of each it counts what was refused, and whether all rows are there.
docs/decisions/0015 says what follows.

    python benchmarks/tables.py [--appends 40]
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa  # type: ignore[import-untyped]

KEY = "ab" * 32

WRITE = """
import json, os, sys
import pyarrow as pa
from tiled.client import from_uri
node = from_uri(os.environ["TABLES_URI"], api_key=os.environ["TABLES_KEY"])
rows = lambda number: pa.table({"seq_num": [7 * number + i for i in range(7)]})
refused, table = [], None
while table is None:
    try:
        table = node.create_appendable_table(schema=rows(0).schema, key=sys.argv[1])
    except Exception as error:
        refused.append(type(error).__name__)
for number in range(int(sys.argv[2])):
    try:
        table.append_partition(0, rows(number))
    except Exception as error:
        refused.append(type(error).__name__)
while True:  # the other one may still write
    try:
        print(json.dumps([len(refused), len(table.read())]))
        break
    except Exception:
        pass
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--appends", type=int, default=40, help="of each process")
    options = parser.parse_args()
    print("| tables in | appends refused | rows | seconds | short lists | columns that begin with NaN |")
    print("|---|---|---|---|---|---|")
    for name in ("sqlite", "duckdb"):
        with tempfile.TemporaryDirectory() as folder, _served(Path(folder), name) as uri:
            started = time.monotonic()
            refused, rows = _two_writers(uri, options.appends)
            seconds = time.monotonic() - started
            columns = [_outcome(uri, key, values) for key, values in COLUMNS.items()]
            cells = [
                f"{refused} of {2 * options.appends}",
                f"{rows} of {14 * options.appends}",
                f"{seconds:.1f}",
            ]
            print(f"| {name} | {' | '.join([*cells, *columns])} |")


COLUMNS: dict[str, list[pa.Table]] = {
    "lists": [pa.table({"p": [[0.5] * 19]}), pa.table({"p": [[0.5] * 3]})],
    "nan": [pa.table({"x": np.full(2000, np.nan)}), pa.table({"x": [1.0]})],
}


@contextmanager
def _served(folder: Path, name: str) -> Iterator[str]:
    """Serve an empty catalog with tables in a database, as the plugin's server does, on a thread."""
    import uvicorn
    from tiled.catalog import from_uri
    from tiled.config import Authentication, StreamingCacheConfig
    from tiled.server.app import build_app

    from speckle_plugin.store.server.upstream.table_lock import one_at_a_time

    (folder / "data").mkdir()
    tree = from_uri(
        str(folder / "catalog.db"),
        writable_storage=[str(folder / "data"), f"{name}:///{folder / 'tables.db'}"],
        init_if_not_exists=True,
        cache_config=StreamingCacheConfig(uri="memory").model_dump(),
    )
    one_at_a_time(tree.context)
    app = build_app(tree, authentication=Authentication(single_user_api_key=KEY))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
        finally:
            server.should_exit = True
            thread.join()


def _two_writers(uri: str, appends: int) -> tuple[int, int]:
    """Give how many appends were refused, and how many rows are there."""
    environment = os.environ | {"TABLES_URI": uri, "TABLES_KEY": KEY}
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", WRITE, key, str(appends)],
            stdout=subprocess.PIPE,
            env=environment,
            text=True,
        )
        for key in "ab"
    ]
    refused, rows = zip(*(json.loads(writer.communicate()[0]) for writer in writers), strict=True)
    return sum(refused), sum(rows)


def _outcome(uri: str, key: str, parts: list[pa.Table]) -> str:
    from tiled.client import from_uri

    try:
        table: Any = from_uri(uri, api_key=KEY).create_appendable_table(schema=parts[0].schema, key=key)
        for part in parts:
            table.append_partition(0, part)
        return "taken" if len(table.read()) == sum(map(len, parts)) else "lost"
    except Exception as error:
        return f"refused ({type(error).__name__})"


if __name__ == "__main__":
    main()
