# mypy: ignore-errors
# ruff: noqa: I001
"""Makes the data directory of version 0.1.0 that the test of migration opens: `directory_0_1_0.tar.xz`.

It was run with the code of that version (commit 47df98c), whose server was embedded in its process:

    git worktree add ../old 47df98c
    cd ../old
    PYTHONPATH=$PWD:$PWD/tests/callbacks python .../tests/store/data/make_directory.py .../tests/store/data

The directory lay elsewhere when it was made, as one that was copied from another machine. Beside it the
script writes `directory_0_1_0.json`: what the old code read of each run, to compare with the new code.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

OUT = Path(sys.argv[1]).resolve()


def measure(data: Path) -> None:
    """Measure four runs, and a fifth that is cut off: its process ends without a word."""
    import bluesky.plans as bp
    from bluesky import RunEngine
    from conftest import CLASSES, FakeEngine
    from speckle_plugin.callbacks import LiveClassifier
    from speckle_plugin.classifier import Classifier
    from speckle_plugin.completion import complete_run
    from speckle_plugin.storage import RunSaver, TiledStore

    from simulated_devices import FlySpeckleDetector, SampleMap, SpeckleSample, quadrant
    from speckle_plugin.models import Bundle
    from speckle_plugin.plans import classify_fly
    from speckle_plugin.preprocessing import Preprocessing

    store = TiledStore(data)
    engine = FakeEngine()
    bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {})
    live = LiveClassifier(Classifier(bundle, engine))
    saver = RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    run_engine = RunEngine({})
    run_engine.subscribe(live)
    sample = SpeckleSample(name="sample", sample_map=SampleMap("gradient"), seed=1)
    det: Any = FlySpeckleDetector(
        name="det", sample=sample, data_directory=store.frames_directory, grid=quadrant(33), seed=2
    )
    run_engine(bp.grid_scan([det], sample.y, 0, 1, 2, sample.x, 0, 1, 2))
    det.frames_per_trigger.put(3)
    run_engine(bp.count([det], 2))
    det.frames_per_trigger.put(1)
    run_engine(classify_fly(det, 4, sample.x, -1, 1))
    engine.error = RuntimeError("no answer")
    run_engine(bp.count([det], 2))
    engine.error = None
    complete_run(store.runs[-1], Classifier(bundle, engine))

    def cut_off(name: str, doc: dict[str, Any]) -> None:
        if doc["seq_num"] == 3:
            saver.flush()
            store._closing.close()  # what is in Tiled is safe, so that the databases are whole
            os._exit(0)

    run_engine.subscribe(cut_off, "event")
    run_engine(bp.count([det], 10, delay=0.5))


def look(data: Path) -> dict[str, Any]:
    """Read everything as the old code does."""
    from speckle_plugin.storage import TiledStore, find_frames

    seen = {}
    with TiledStore(data) as store:
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


def main() -> None:
    """Write the archive and what is in it."""
    if len(sys.argv) > 2:
        measure(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory(prefix="speckle-elsewhere-") as folder:
        data = Path(folder) / "data"
        subprocess.run([sys.executable, __file__, str(OUT), str(data)], check=True)
        (OUT / "directory_0_1_0.json").write_text(json.dumps(look(data), indent=1) + "\n")
        for path in (data / "tiled").glob("*.log"):
            path.unlink()
        with tarfile.open(OUT / "directory_0_1_0.tar.xz", "w:xz") as archive:
            archive.add(data, "data")


if __name__ == "__main__":
    main()
