"""Hours of scans of every kind in one session, with a report of rate, latency, memory and frame counts.

Plans are drawn at random: step scans, bursts, flights, runs that are aborted or fail, frames that
are unfit. Meanwhile another process reads the frames and results of the newest run through Tiled,
every two seconds. With `--three` it does so on the data directory, by queries, and a third process
labels what was deferred. After each run the counts are checked against Tiled, and those of all runs at the
end; the first that does not balance, or a process that fails, ends the soak with exit code 1.

    python benchmarks/soak.py [--minutes 60] [--seed 1] [--out runs/soak] [--three]
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np

from simulated_devices import (
    DetectorResponse,
    FlySpeckleDetector,
    SampleMap,
    SpeckleDetector,
    SpeckleSample,
    quadrant,
)
from speckle_plugin.plans import classify_count, classify_fly, classify_grid_scan
from speckle_plugin.session import Session, start_session
from speckle_plugin.speeds import resident_mebibytes
from speckle_plugin.store import Store, find_frames
from speckle_plugin.store.read.stored_run import StoredRun

LONGEST_LOOK = 180.0
"""Seconds after which a reader counts as hung."""

KINDS = ("step", "burst", "grid", "two", "flight", "dark", "aborted", "failed", "empty")


class PlannedFailureError(Exception):
    """Raised by a plan of the soak, to see that its run is kept."""


def main() -> None:
    """Measure and write the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("runs/soak"))
    parser.add_argument(
        "--three", action="store_true", help="one process measures, one queries, one reprocesses"
    )
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, Any]] = []
    looks: list[int] = []
    with start_session(options.out / "data", table=False) as session:
        plans = _Plans(session, options.seed)
        session.live.classifier  # noqa: B018 waits until it is loaded
        codes = [QUERIES, REPROCESSES] if options.three else [READS]
        with ExitStack() as stack:
            others = [stack.enter_context(_Other(code, session.store)) for code in codes]
            end = time.monotonic() + 60.0 * options.minutes
            while time.monotonic() < end:
                rows.append(_measure(session, *plans.draw()))
                problems = [rows[-1]["problem"], *(other.problem() for other in others)]
                rows[-1]["problem"] = "; ".join(filter(None, problems))
                (options.out / "soak.json").write_text(json.dumps(rows))
                if rows[-1]["problem"]:
                    break
            looks = [other.looks for other in others]
        if not rows[-1]["problem"]:
            uids = list(session.catalog)
            rows[-1]["problem"] = "; ".join(filter(None, (_problem(session, uid) for uid in uids)))
    _report(rows, looks, options.out / "soak.md")
    if rows[-1]["problem"]:
        raise SystemExit(rows[-1]["problem"])


READS = """
import os, time
from tiled.client import from_uri
runs = from_uri(os.environ["SOAK_URI"], api_key=os.environ["SOAK_KEY"])
while True:
    time.sleep(2)
    if not len(runs):
        continue
    run = runs.values().last()
    for stream, keys in {"primary": ("internal", "det_image"),
                         "classification": ("internal", "probabilities")}.items():
        for key in keys:
            try:
                node = run[f"{stream}/{key}"]
            except KeyError:  # not yet, or not in this run
                continue
            node.read()
    print("looked", flush=True)
"""

QUERIES = """
import os, time
from speckle_plugin.store import TiledStore, find_frames, find_runs
with TiledStore(os.environ["SOAK_DATA"]) as store:
    while True:
        time.sleep(2)
        found = find_runs(store.runs, label=7)
        for run in [*list(found.values())[-1:], *list(store.runs.values())[-1:]]:
            rows = find_frames(run, with_frames=True)
            if rows.duplicated(["image_key", "frame_index"]).any():
                raise SystemExit(f"rows of {run.start['uid']} are there twice")
        print("looked", flush=True)
"""

REPROCESSES = """
import os, time
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess import complete_runs
from speckle_plugin.store import TiledStore, find_runs
with TiledStore(os.environ["SOAK_DATA"]) as store:
    classifier = Classifier("quadrant")
    while True:
        time.sleep(2)
        runs = list(find_runs(store.runs, deferred=True).values())
        for outcome in complete_runs(runs, lambda run: classifier):
            if outcome.error:
                raise SystemExit(outcome.error)
        print("looked", flush=True)
"""


class _Other:
    """Another process that does something again and again, while runs are measured."""

    def __init__(self, code: str, store: Store) -> None:
        self._output, self._errors = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            stdout=self._output,
            stderr=self._errors,
            env=os.environ
            | {"SOAK_URI": store.uri, "SOAK_KEY": store.api_key or ""}  # a command line is seen by all users
            | {"SOAK_DATA": str(store.frames_directory.parent)},
        )
        self._looks, self._last_look = 0, time.monotonic()

    @property
    def looks(self) -> int:
        """How often it has done it."""
        self._output.seek(0)
        return self._output.read().count(b"looked")

    def problem(self) -> str:
        """Give what it failed with, or that it hangs, or nothing."""
        if self._process.poll() is None:
            looks = self.looks
            if looks > self._looks:
                self._looks, self._last_look = looks, time.monotonic()
            waited = time.monotonic() - self._last_look
            return f"another process has done nothing for {waited:.0f} s" if waited > LONGEST_LOOK else ""
        self._errors.seek(0)
        return f"another process failed: {self._errors.read().decode()[-2000:]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._output.close()
        self._errors.close()


class _Plans:
    """Draws a plan: its name, the plan, and the detectors that it reads."""

    def __init__(self, session: Session, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._session = session
        self._sample = SpeckleSample(name="sample", sample_map=SampleMap(), family="poly", seed=seed)
        self._det = self._detector("det")
        self._noisy = self._detector("noisy", response=DetectorResponse(photons=1e5, dtype="uint16"))
        self._dark = self._detector("faint", response=DetectorResponse(photons=1e-9))

    def _detector(self, name: str, **settings: Any) -> FlySpeckleDetector:
        folder = self._session.store.frames_directory
        return FlySpeckleDetector(
            name=name, sample=self._sample, grid=quadrant(), data_directory=folder, seed=1, **settings
        )

    def draw(self) -> tuple[str, Any]:
        kind = str(self._rng.choice(KINDS))
        self._det.frames_per_trigger.put(int(self._rng.integers(20, 100)) if kind == "burst" else 1)
        self._det.exposure_time.put(0.0 if kind == "burst" else float(self._rng.uniform(0.05, 0.3)))
        points = int(self._rng.integers(2, 20))
        match kind:
            case "step":
                return kind, classify_count([self._det], points)
            case "burst":
                return kind, classify_count([self._det], 3, when_full="defer" if points % 2 else "wait")
            case "grid":
                axes = (self._sample.y, 0, 1, 3, self._sample.x, 0, 1, 3)
                return kind, classify_grid_scan([self._det], *axes)
            case "two":
                return kind, bp.count([self._det, self._noisy], points)
            case "dark":
                return kind, bp.count([self._dark], points)
            case "empty":
                return kind, bp.count([], points)
            case "flight":
                return kind, classify_fly(self._det, 4 * points, self._sample.x, -1, 1)
        return kind, _broken_off(self._det, points, aborted=kind == "aborted")


@bpp.run_decorator()
def _broken_off(det: SpeckleDetector, points: int, aborted: bool) -> Iterator[Any]:
    def inner() -> Iterator[Any]:
        for _ in range(points):
            yield from bps.trigger_and_read([det])
        if aborted:
            yield from bps.pause()
        raise PlannedFailureError

    return (yield from bpp.stage_wrapper(inner(), [det]))


def _measure(session: Session, kind: str, plan: Any) -> dict[str, Any]:
    from bluesky.utils import RunEngineInterrupted

    uids: list[str] = []
    token = session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")
    started = time.monotonic()
    try:
        session.RE(plan)
    except RunEngineInterrupted:
        if session.RE.state == "paused":
            session.RE.abort("a part of the soak")
    except PlannedFailureError:
        pass
    finally:
        session.RE.unsubscribe(token)
    seconds = time.monotonic() - started
    report = session.live.reports[uids[0]]
    return {
        "kind": kind,
        "time": time.time(),
        "seconds": seconds,
        "frames": report.summary.get("frames", 0),
        "frame_counts": {k: report.summary.get(k, 0) for k in ("classified", "flagged", "deferred")},
        "label_ms": [1e3 * value for value in report.to_label],
        "stored_ms": [1e3 * value for value in report.to_stored],
        "memory_mib": resident_mebibytes(),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "problem": "; ".join(filter(None, (_problem(session, uid) for uid in uids))),
    }


def _problem(session: Session, uid: str) -> str:
    """Compare the frame counts of a run with what Tiled holds; give what is wrong, or nothing."""
    if uid in session.saver.failures:
        return session.saver.failures[uid]
    run = session.catalog[uid]
    summary = run.metadata.get("stop", {}).get("classification", {})
    stored = sum(map(len, StoredRun(run).images.values()))
    rows = find_frames(run)
    counted = sum(summary.get(k, 0) for k in ("classified", "flagged", "deferred"))
    once = not rows.duplicated(["image_key", "frame_index"]).any()
    if stored == len(rows) == counted == summary.get("frames", 0) and once:
        return ""
    return f"the counts of run {uid} do not balance: {stored} frames, {len(rows)} rows, summary {summary}"


def _report(rows: list[dict[str, Any]], looks: list[int], path: Path) -> None:
    frames = sum(row["frames"] for row in rows)
    seconds = rows[-1]["time"] - rows[0]["time"] + rows[0]["seconds"]
    counts = sum((Counter(row["frame_counts"]) for row in rows), Counter())
    balanced = sum(not row["problem"] for row in rows)
    lines = [
        "# Soak",
        "",
        f"{len(rows)} runs, {frames} frames in {seconds / 60:.0f} min ({frames / seconds:.1f} frames/s).",
        f"Frame counts: {dict(counts)}, balanced in {balanced} of {len(rows)} runs.",
        f"Meanwhile other processes read or reprocessed runs {' and '.join(map(str, looks))} times.",
        "",
        "Runs: " + ", ".join(f"{n} {kind}" for kind, n in Counter(row["kind"] for row in rows).items()) + ".",
        "",
        "| part | memory (MiB) | open files | threads | label p50, p99 (ms) | stored p50, p99 (ms) |",
        "|---|---|---|---|---|---|",
    ]
    for number, part in enumerate(np.array_split(np.arange(len(rows)), min(6, len(rows))), start=1):
        chosen = [rows[i] for i in part if rows[i]["kind"] != "burst"]
        last = rows[part[-1]]
        cells = [
            str(number),
            f"{last['memory_mib']:.0f}",
            str(last["files"]),
            str(last["threads"]),
            *(_percentiles([v for row in chosen for v in row[key]]) for key in ("label_ms", "stored_ms")),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Latencies are of the runs that are no bursts.", ""]
    path.write_text("\n".join(lines))
    print("\n".join(lines))


def _percentiles(values: list[float]) -> str:
    return "{:.0f}, {:.0f}".format(*np.percentile(values, [50, 99])) if values else ""


if __name__ == "__main__":
    main()
