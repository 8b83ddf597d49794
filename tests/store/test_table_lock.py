"""Tables that are read while rows are appended."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

APPENDS = 20
SCRIPT = f"""
import sys, threading
import numpy as np, pyarrow as pa
from tiled.client import from_uri
from speckle_plugin.store import TiledStore

def rows(number):
    return pa.table({{"seq_num": np.arange(7) + 7 * number}})

with TiledStore(sys.argv[1]) as store:
    node = store.runs.create_container("run")
    tables = [node.create_appendable_table(schema=rows(0).schema, key=key) for key in "ab"]
    over = threading.Event()

    def read():
        table = from_uri(tables[0].uri, api_key=store.api_key)
        while not over.is_set():
            table.read()

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    for number in range({APPENDS}):
        for table in tables:
            table.append_partition(0, rows(number))
    over.set()
    for reader in readers:
        reader.join()
    print([table.read()["seq_num"].tolist() == list(range(7 * {APPENDS})) for table in tables])
"""


def test_no_row_is_lost_or_doubled(data_directory: Path) -> None:
    """In a process of its own: without the lock some runs end by a segmentation fault."""
    command = [sys.executable, "-c", SCRIPT, str(data_directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[True, True]\n"
    assert "Traceback" not in done.stderr
