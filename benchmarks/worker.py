"""How many frames a second one worker labels, and two: `python benchmarks/worker.py --frames 600 --runs 12`.

A session stores runs without labels; then workers (`speckle worker --once`, each a process of its own) label
them, once by one and once by two; `--runs 1` shows how they share a single run. The time is that of the whole
command, the loading of the network included: give enough frames. On two cores, two workers share them, and a
gain shows what one leaves idle.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bluesky.plans as bp

from simulated_devices import SpeckleDetector, SpeckleSample
from speckle_plugin.session import start_session
from speckle_plugin.store import TiledStore, find_frames

BURST = 10
"""Frames of an event."""

COMMAND = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", "worker", "--once"]


def measure(data: Path, runs: int, frames: int) -> None:
    """Store runs without labels."""
    with start_session(data, engine="none", table=False) as session:
        det = SpeckleDetector(
            name="det",
            sample=SpeckleSample(name="sample", seed=1),
            data_directory=session.store.frames_directory,
            frames_per_trigger=BURST,
            seed=1,
        )
        for _ in range(runs):
            session.RE(bp.count([det], max(1, frames // runs // BURST)))


def label(data: Path, workers: int) -> dict[str, float]:
    """Label all runs by so many workers, and give the rate over their rows."""
    started = time.time()
    environment = os.environ | {"SPECKLE_SETTINGS": ""}
    running = [
        subprocess.Popen([*COMMAND, "--data", str(data)], env=environment, stdout=subprocess.DEVNULL)
        for _ in range(workers)
    ]
    if any(process.wait() for process in running):
        raise SystemExit("a worker failed")
    whole = time.time() - started
    with TiledStore(data) as store:
        rows = find_frames(store.runs)
        summaries = [run.metadata["stop"]["classification"] for run in store.runs.values()]
        labelled = sum(summary["classified"] for summary in summaries)
        streams = sum(name.startswith("classification") for run in store.runs.values() for name in run.base)
    if not labelled == len(rows) == len(rows.drop_duplicates(["run_uid", "image_key", "frame_index"])):
        raise SystemExit(f"{labelled} labels in {len(rows)} rows")
    counts = {"workers": workers, "runs": len(summaries), "result_streams": streams, "frames": labelled}
    return counts | {"seconds": whole, "frames_per_second": labelled / whole}


def main() -> None:
    """Measure one and two workers, each on a fresh data directory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=12)
    parser.add_argument("--frames", type=int, default=600, help="of all runs together")
    options = parser.parse_args()
    for workers in (1, 2):
        with tempfile.TemporaryDirectory(prefix="speckle-worker-") as folder:
            measure(Path(folder) / "data", options.runs, options.frames)
            print(json.dumps(label(Path(folder) / "data", workers)), flush=True)


if __name__ == "__main__":
    main()
