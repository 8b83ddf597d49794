"""A data directory of version 0.1.0, and directories that are moved: nothing is lost."""

from __future__ import annotations

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from speckle_plugin.store import Store, StoredRun, TiledStore, find_frames, replay

DATA = Path(__file__).parent / "data"


def look(store: Store) -> dict[str, Any]:
    """Read everything, as `data/make_directory.py` did with the version that wrote it."""
    seen = {}
    for uid, run in store.runs.items():
        rows = find_frames(run)
        streams = {}
        for name in run:
            table = run[name].base["internal"].read() if "internal" in run[name].base else None
            image = run[name].get("det_image") if name == "primary" else None
            streams[name] = {
                "rows": None if table is None else len(table),
                "columns": None if table is None else sorted(table.columns),
                "sums": None if image is None else image.read().sum(axis=(-1, -2)).ravel().tolist(),
            }
        labels = rows[["image_key", "frame_index", "status", "disk_number"]].astype(object)
        seen[uid] = {
            "stop": run.metadata.get("stop"),
            "streams": streams,
            "frames": json.loads(labels.to_json(orient="values")),
        }
    return seen


def test_a_directory_of_0_1_0_that_moves(tmp_path: Path, measure: Callable[..., str]) -> None:
    """It opens where it never lay, goes on, moves, and a run that was cut off is whole again."""
    known = json.loads((DATA / "directory_0_1_0.json").read_text())
    odd = tmp_path / "a #b c%20d;e f"
    with tarfile.open(DATA / "directory_0_1_0.tar.xz") as archive:
        archive.extractall(odd, filter="data")
    (journal,) = (odd / "data" / "journal").glob("*.jsonl")
    with TiledStore(odd / "data") as store:
        assert look(store) == known
        # That version did not tell which numbers are possible.
        stored = [StoredRun(run) for run in store.runs.values()]
        assert {row.data["possible"] for run in stored for row in run.results.rows.values()} == {""}
        assert set(find_frames(store.runs)["possible"]) == {""}
        assert find_frames(store.runs, possible=7).empty
        new = measure(store)
        assert store.runs[new]["primary/det_image"][:, 0, 0].tolist() == [0, 1, 2]
    shutil.copytree(odd / "data", tmp_path / "copy")
    with TiledStore(tmp_path / "copy") as store:
        now = look(store)
        assert {uid: now[uid] for uid in known} == known
        assert store.runs[new]["primary/det_image"][:, 0, 0].tolist() == [0, 1, 2]
        assert len(now[new]["frames"]) == 3
        assert replay(store.journal_directory, store.runs) == {journal.stem: "replayed"}
        run = store.runs[journal.stem]
        assert run.metadata["stop"]["reason"] == "recovered from journal"
        assert len(run["primary/det_image"].read()) == len(run["primary/internal"].read()) == 3
        assert len(find_frames(run)) == run.metadata["stop"]["classification"]["frames"] == 3
