"""Metadata of runs that outlives its session, and is shared by processes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from ophyd.sim import SynAxis

from speckle_plugin.schema import CLASSIFIED_HERE
from speckle_plugin.store import SharedMetadata, StorageError


def test_it_outlives_the_session(tmp_path: Path) -> None:
    path = tmp_path / "metadata.json"
    first = SharedMetadata(path)
    first["sample"] = {"name": "A7", "size": np.float64(1.5), "sides": (1, 2)}
    first["user"] = "someone"
    first["versions"] = {"bluesky": "1"}
    first[CLASSIFIED_HERE] = True
    again = SharedMetadata(path)
    assert dict(again) == {"sample": {"name": "A7", "size": 1.5, "sides": [1, 2]}, "user": "someone"}
    assert len(again) == 2 and len(first) == 4 and "versions" in first
    del again["user"]
    assert "user" not in first, "what another one removes"
    with pytest.raises(KeyError):
        del first["user"]


def test_a_run_engine_takes_it(tmp_path: Path, run_engine: RunEngine) -> None:
    path = tmp_path / "metadata.json"
    metadata = SharedMetadata(path)
    metadata.raise_scan_id(41)
    run_engine.md = cast("dict[str, object]", metadata)
    run_engine.scan_id_source = metadata.next_scan_id
    run_engine.md["proposal"] = "P-1"
    starts: list[dict[str, object]] = []
    run_engine.subscribe(lambda _, doc: starts.append(doc), "start")
    run_engine(count([SynAxis(name="motor")]))
    SharedMetadata(path)["proposal"] = "P-2"
    run_engine(count([SynAxis(name="motor")]))
    assert [(start["scan_id"], start["proposal"]) for start in starts] == [(42, "P-1"), (43, "P-2")]


def test_processes_lose_nothing_of_each_other(tmp_path: Path) -> None:
    code = """
import sys
from pathlib import Path
from typing import cast
from speckle_plugin.store.metadata import SharedMetadata
metadata = SharedMetadata(Path(sys.argv[1]))
for number in range(50):
    metadata[f"{sys.argv[2]}{number}"] = number
    metadata.next_scan_id()
"""
    path = tmp_path / "metadata.json"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(path), name]) for name in "ab"]
    assert [process.wait(60) for process in processes] == [0, 0]
    kept = dict(SharedMetadata(path))
    assert kept["scan_id"] == 100 and len(kept) == 101


@pytest.mark.parametrize("value", [object(), {"a": {1, 2}}, b"bytes"])
def test_what_json_does_not_have_is_refused(tmp_path: Path, value: object) -> None:
    metadata = SharedMetadata(tmp_path / "metadata.json")
    with pytest.raises(TypeError, match="'sample' can't be kept: expected text, numbers"):
        metadata["sample"] = value
    assert not dict(metadata)


@pytest.mark.parametrize("text", ["{", "[1]", ""])
def test_a_file_that_makes_no_sense(tmp_path: Path, text: str) -> None:
    path = tmp_path / "metadata.json"
    path.write_text(text)
    with pytest.raises(StorageError, match=r"metadata\.json can't be read: .* Mend the file"):
        SharedMetadata(path)
