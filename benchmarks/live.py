"""Live classification beside what bounds it: writes a table and benchmarks/latest.json.

Each figure is a ratio within one run, or stands beside the limit of the machine. Run it on an
idle machine; on two cores it takes about ten minutes, most of them for a burst of 2000 frames.

    python benchmarks/live.py [--frames 2000] [--out benchmarks/latest.json]
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np

from simulated_devices.ready_detector import SEED, make_ready_detector, sample_frames
from speckle_plugin import speeds
from speckle_plugin.display import LiveFigure
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import SecondOpinion
from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.schema import Asked
from speckle_plugin.session import Session, start_session

POINTS = 200
OPINION_BURST = 400
FIGURE_ROUNDS = 3
FRAMES_PER_SECOND = 20.0
PREDICTED = 60
SIZES = (257, 513, 1025)

PATIENCE = 60.0
"""Seconds that another client may take to end after the scan."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--frames", type=int, default=2000, help="of the burst")
    parser.add_argument(
        "--no-judging", action="store_true", help="burst: no statistics of odd frames; with another --out"
    )
    parser.add_argument("--memory-frames", type=int, default=20000)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("latest.json"))
    parser.add_argument(
        "--only", action="append", choices=STEPS, help="the rest stays as it is in --out, with its date"
    )
    parser.add_argument("--predict-on-batch", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--watch", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.predict_on_batch:
        print(json.dumps(_predict_on_batch()))
        return
    if options.watch:
        print(json.dumps(_watch()))
        return
    numbers: dict[str, Any] = json.loads(options.out.read_text()) if options.only else {}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    numbers |= {"machine": platform.platform(), "seed": SEED}
    dates: dict[str, str] = numbers.setdefault("date", {})
    for name in options.only or STEPS:
        started = time.perf_counter()
        numbers |= STEPS[name](options, numbers)
        dates[name] = today
        print(f"{name:18s} {time.perf_counter() - started:6.0f} s", file=sys.stderr)
    options.out.write_text(json.dumps(numbers, indent=1) + "\n")
    for name, value in numbers.items():
        print(f"{name:36s} {value:.4g}" if isinstance(value, float) else f"{name:36s} {value}")


def _session(
    folder: str, frames: FrameSettings | None = None, second_opinion: SecondOpinion | Asked = "none"
) -> Session:
    return start_session(
        folder,
        frames=frames,
        settings=speeds.PATIENT,
        second_opinion=second_opinion,
        table=False,
        live_figure="none",
    )


def _start(options: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    """Measure how soon a new process has the classifier ready, without TensorFlow; the best of three."""
    code = (
        "import sys, time; started = time.perf_counter()\n"
        "from speckle_plugin.network.classifier import Classifier; Classifier('quadrant', 'openvino')\n"
        "print(time.perf_counter() - started); assert 'tensorflow' not in sys.modules"
    )
    runs = [
        subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    return {"engine_start_s": min(float(run.stdout) for run in runs)}


def _engine_and_burst(options: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder, _session(folder) as session:
        classifier = session.live.classifier
        if options.no_judging:
            classifier.trust = None
        detector = make_ready_detector(session.store.frames_directory, "det")
        speeds.live_burst(session, detector, 4)
        batch = session.live.settings.batch
        numbers = speeds.measure_engine(classifier, sample_frames(batch))
        live = speeds.live_burst(session, detector, options.frames)
        # Other work on the machine comes and goes: the engine is measured before and after.
        again = speeds.measure_engine(classifier, sample_frames(batch))
        if again["engine_frames_per_s"] > numbers["engine_frames_per_s"]:
            numbers = again
        for dtype in ("uint16", "float32", "float64"):
            frames = sample_frames(batch, dtype=dtype)
            numbers[f"preprocessing_{dtype}"] = speeds.preparation_share(classifier, frames)
    numbers["burst_frames"] = live.frames
    numbers["live_frames_per_s"] = live.rate
    numbers["live_over_engine"] = live.rate / numbers["engine_frames_per_s"]
    for stage, seconds in live.report.summary["seconds_per_frame"].items():
        numbers[f"live_{stage}_ms"] = seconds * 1e3
    return numbers


def _paced(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure a step scan at 20 frames/s, or where the network would fill a fifth of the machine."""
    rate = min(FRAMES_PER_SECOND, 200.0 / numbers["one_frame_ms"])
    with tempfile.TemporaryDirectory() as folder, _session(folder) as session:
        session.live.classifier.classify(sample_frames(1), FrameGeometry((257, 257)))
        detector = make_ready_detector(session.store.frames_directory, "det", exposure_time=1.0 / rate)
        speeds.live_scan(session, bp.count([detector], 5), 5)
        report = speeds.live_scan(session, bp.count([detector], POINTS), POINTS).report
    label, stored = np.array(report.to_label) * 1e3, np.array(report.to_stored) * 1e3
    return {
        "paced_frames_per_s": rate,
        "label_p50_ms": float(np.percentile(label, 50)),
        "label_p99_ms": float(np.percentile(label, 99)),
        "label_p99_over_one_frame": float(np.percentile(label, 99)) / numbers["one_frame_ms"],
        "written_p50_ms": float(np.percentile(stored, 50)),
        "written_p99_ms": float(np.percentile(stored, 99)),
    }


def _stored(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure when another process has the rows of such a scan, by Tiled's subscription."""
    with tempfile.TemporaryDirectory() as folder, _session(folder) as session:
        session.live.classifier.classify(sample_frames(1), FrameGeometry((257, 257)))
        exposure_time = 1.0 / numbers["paced_frames_per_s"]
        detector = make_ready_detector(session.store.frames_directory, "det", exposure_time=exposure_time)
        speeds.live_scan(session, bp.count([detector], 5), 5)
        command = [sys.executable, __file__, "--watch"]
        secrets = {"WATCH_URI": session.store.uri, "WATCH_KEY": session.store.api_key or ""}
        with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ | secrets) as watcher:
            try:
                if watcher.stdout is None or watcher.stdout.readline() != b"ready\n":
                    raise RuntimeError("the other client did not start; its error is above")
                speeds.live_scan(session, bp.count([detector], POINTS), POINTS)
                output, _ = watcher.communicate(timeout=PATIENCE)
            finally:
                watcher.kill()
    waited = json.loads(output)
    return {"stored_rows": len(waited)} | {
        f"stored_p{part}_ms": float(np.percentile(waited, part)) * 1e3 for part in (50, 99)
    }


def _watch() -> list[float]:
    """Follow the rows of the next run; give the seconds from each frame to the arrival of its row here."""
    from tiled.client import from_uri

    runs = from_uri(os.environ["WATCH_URI"], api_key=os.environ["WATCH_KEY"])
    known, waited = len(runs), list[float]()
    print("ready", flush=True)
    rows = None
    while rows is None:
        time.sleep(0.2)
        with contextlib.suppress(KeyError):  # the run has no rows yet
            rows = runs.values().last()["classification/internal"] if len(runs) > known else None
    subscription = rows.subscribe()
    connected = time.time()

    def note(update: Any) -> None:
        now, table = time.time(), update.data()
        taken = table["time"] - table["latency"]
        waited.extend((now - taken)[taken > connected])

    subscription.new_data.add_callback(note)
    subscription.start()  # until the server says that the run has ended
    return waited


def _overhead(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure the same step scan with and without classification, twice in turn; Tiled has both."""
    exposure_time = 1.0 / numbers["paced_frames_per_s"]
    seconds: dict[bool, list[float]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as folder:
        for classified in (True, False) * 2:
            frames = FrameSettings() if classified else FrameSettings(image_keys=())
            with _session(folder, frames) as session:
                session.live.classifier.classify(sample_frames(1), FrameGeometry((257, 257)))
                detector = make_ready_detector(
                    session.store.frames_directory, "det", exposure_time=exposure_time
                )
                speeds.live_scan(session, bp.count([detector], 2), 2)
                scan = speeds.live_scan(session, bp.count([detector], POINTS), POINTS)
                seconds[classified].append(scan.seconds)
    return {
        "scan_seconds": min(seconds[True]),
        "scan_seconds_unclassified": min(seconds[False]),
        "scan_overhead": min(seconds[True]) / min(seconds[False]),
    }


def _figure(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure a paced scan and a burst with the live figure and without, in turn.

    The figure is drawn into images, as for a notebook: a window needs a display, and draws the same.
    """
    seconds: dict[bool, list[float]] = {True: [], False: []}
    rates: dict[bool, list[float]] = {True: [], False: []}
    exposure_time = 1.0 / numbers["paced_frames_per_s"]
    drawn = 0
    with tempfile.TemporaryDirectory() as folder:
        for shown in (True, False) * FIGURE_ROUNDS:
            with _session(folder) as session:
                images = _CountedImages()
                figure = LiveFigure("inline", session.live.backlog, images=images) if shown else None
                if figure is not None:
                    session.live.subscribe(figure)
                    session.live.watch(figure.see)
                session.live.classifier.classify(sample_frames(1), FrameGeometry((257, 257)))
                frames = session.store.frames_directory
                detector = make_ready_detector(frames, "det", exposure_time=exposure_time)
                speeds.live_scan(session, bp.count([detector], 2), 2)
                before = images.count
                seconds[shown].append(speeds.live_scan(session, bp.count([detector], POINTS), POINTS).seconds)
                drawn += images.count - before
                burst = make_ready_detector(frames, "burst")
                rates[shown].append(speeds.live_burst(session, burst, OPINION_BURST).rate)
                if figure is not None:
                    figure.close()
    if not drawn:
        raise RuntimeError("the figure was not drawn during the scans, so this is no comparison")
    return {
        "figure_drawings_per_s": drawn / sum(seconds[True]),
        "figure_scan_overhead": min(seconds[True]) / min(seconds[False]),
        "figure_burst_over_without": max(rates[True]) / max(rates[False]),
    }


class _CountedImages:
    """Takes the images of a figure, and counts them."""

    def __init__(self) -> None:
        self.count = 0

    def begin(self) -> None:
        """Take notice of a run."""

    def show(self, png: bytes) -> None:
        """Count an image."""
        self.count += 1


def _second_opinion(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure a paced scan and a burst with second opinions of all frames and without, twice in turn."""
    rate = min(FRAMES_PER_SECOND, 200.0 / numbers["one_frame_ms"])
    labels: dict[Asked, list[float]] = {"all": [], "none": []}
    rates: dict[Asked, list[float]] = {"all": [], "none": []}
    answered, seconds = 0, 0.0
    with tempfile.TemporaryDirectory() as folder:
        for asked in ("all", "none", "all", "none"):
            with _session(folder, second_opinion=SecondOpinion(asked, wait=0.0)) as session:
                session.live.classifier.classify(sample_frames(1), FrameGeometry((257, 257)))
                documents: list[tuple[str, dict[str, Any]]] = []
                session.live.subscribe(_keeper(documents))
                detector = make_ready_detector(session.store.frames_directory, "det", exposure_time=1 / rate)
                speeds.live_scan(session, bp.count([detector], 5), 5)
                scan = speeds.live_scan(session, bp.count([detector], POINTS), POINTS)
                labels[asked] += scan.report.to_label
                if asked == "all":
                    summary = documents[-1][1]["structure"]
                    answered += summary["frames"] - summary["left"]
                    seconds += scan.seconds
                burst = make_ready_detector(session.store.frames_directory, "burst")
                rates[asked].append(speeds.live_burst(session, burst, OPINION_BURST).rate)
    found: dict[str, Any] = {"opinions_per_s": answered / seconds}
    for part in (50, 99):
        beside, alone = (float(np.percentile(labels[asked], part)) * 1e3 for asked in ("all", "none"))
        found |= {
            f"label_p{part}_ms_beside_opinions": beside,
            f"label_p{part}_beside_over_alone": beside / alone,
        }
    return {**found, "burst_beside_over_alone": max(rates["all"]) / max(rates["none"])}


def _keeper(documents: list[tuple[str, dict[str, Any]]]) -> Callable[[str, dict[str, Any]], None]:
    return lambda name, doc: documents.append((name, doc))


def _sizes(options: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    numbers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, _session(folder) as session:
        for size in SIZES:
            detector = make_ready_detector(session.store.frames_directory, f"det{size}", size)
            speeds.live_burst(session, detector, 2)
            live = speeds.live_burst(session, detector, 128, per_trigger=64)
            numbers[f"live_frames_per_s_{size}"] = live.rate
            numbers[f"live_read_and_prepare_ms_{size}"] = 1e3 * sum(
                live.report.summary["seconds_per_frame"][stage] for stage in ("read", "prepare")
            )
    return numbers


def _memory(options: argparse.Namespace, _: dict[str, Any]) -> dict[str, Any]:
    """Watch the memory over many frames in one run; the network sees 32 x 32 pixels, so that it is quick."""
    from bluesky import RunEngine

    from speckle_plugin.live import LiveClassifier
    from speckle_plugin.preprocessing import Preprocessing
    from speckle_plugin.store import RunSaver, TiledStore

    bundle = replace(find_bundle(), preprocessing=Preprocessing(crop=33), feature_statistics=None)
    per_trigger = 100
    with tempfile.TemporaryDirectory() as folder:
        store = TiledStore(folder)
        live = LiveClassifier(Classifier(bundle), settings=speeds.PATIENT)
        saver = RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        resident: list[float] = []

        def note(name: str, doc: Any) -> None:
            if name == "datum":
                resident.append(speeds.resident_mebibytes())

        live.subscribe(note)
        with Session(RunEngine({}), live, store, saver) as session:
            detector = make_ready_detector(session.store.frames_directory, "det", 65)
            speeds.live_burst(session, detector, 1000, per_trigger)
            resident.clear()
            scan = speeds.live_burst(session, detector, options.memory_frames, per_trigger)
    tenth = max(len(resident) // 10, 1)
    return {
        "memory_frames": scan.frames,
        "memory_frames_per_s": scan.rate,
        "memory_first_tenth_mib": float(np.mean(resident[:tenth])),
        "memory_last_tenth_mib": float(np.mean(resident[-tenth:])),
        "memory_growth_bytes_per_frame": (np.mean(resident[-tenth:]) - np.mean(resident[:tenth]))
        * 2**20
        / (0.9 * scan.frames),
    }


def _naive(options: argparse.Namespace, numbers: dict[str, Any]) -> dict[str, Any]:
    """Measure `model.predict_on_batch` in the callback, in a process of its own: with TensorFlow loaded."""
    command = [sys.executable, __file__, "--predict-on-batch"]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
    naive = json.loads(output.splitlines()[-1])
    return {
        **naive,
        "live_over_predict_on_batch": numbers["live_frames_per_s"] / naive["predict_on_batch_frames_per_s"],
    }


def _predict_on_batch() -> dict[str, float]:
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from bluesky import RunEngine

    from speckle_plugin.documents.frame_finder import FrameFinder
    from speckle_plugin.frames.reader import read_frames
    from speckle_plugin.preprocessing import prepare

    bundle = find_bundle()
    model = bundle.build_network()
    with tempfile.TemporaryDirectory() as folder:
        detector = make_ready_detector(folder, "det")
        finder = FrameFinder(FrameSettings())

        def classify(name: str, doc: Any) -> None:
            for reference in finder(name, doc):
                (frame,) = read_frames([reference])
                geometry = reference.detector.geometry
                if geometry is None or isinstance(frame, Exception):
                    raise RuntimeError(f"no frame to classify: {frame!r}")
                model.predict_on_batch(prepare(frame, bundle.preprocessing, geometry)[0][..., None])

        run_engine = RunEngine({})
        run_engine.subscribe(classify)
        run_engine(bp.count([detector], 3))
        started = time.perf_counter()
        run_engine(bp.count([detector], PREDICTED))
        return {"predict_on_batch_frames_per_s": PREDICTED / (time.perf_counter() - started)}


STEPS: dict[str, Callable[[argparse.Namespace, dict[str, Any]], dict[str, Any]]] = {
    "start": _start,
    "engine_and_burst": _engine_and_burst,
    "paced": _paced,
    "stored": _stored,
    "overhead": _overhead,
    "figure": _figure,
    "second_opinion": _second_opinion,
    "sizes": _sizes,
    "memory": _memory,
    "naive": _naive,
}
"""In this order, since later ones use the numbers of those before."""

if __name__ == "__main__":
    main()
