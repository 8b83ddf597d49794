"""Faults of the server and of the disk in real scans: nothing is lost, and the frame counts balance."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import httpx
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import FailedStatus

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.store import RunSaver, StorageError, TiledStore, find_frames, replay
from tests.testing import CLASSES, FakeEngine, documents_of


@pytest.fixture
def data(data_directory: Path) -> Path:
    return data_directory


class Measurement:
    """A RunEngine with the live classifier and the saver, on a data directory."""

    def __init__(self, directory: Path, run_engine: RunEngine, pixels: int = 65) -> None:
        self.store = TiledStore(directory)
        self.saver = RunSaver(self.store.runs, self.store.journal_directory)
        bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {})
        self.live = LiveClassifier(Classifier(bundle, FakeEngine()))
        self.live.subscribe(self.saver, saves=True)
        self.RE = run_engine
        self.RE.subscribe(self.live)
        self.started: list[str] = []
        self.RE.subscribe(lambda name, doc: self.started.append(doc["uid"]), "start")
        self.det = SpeckleDetector(
            name="det",
            sample=SpeckleSample(name="sample", sample_map=SampleMap("gradient"), seed=1),
            data_directory=self.store.frames_directory,
            grid=quadrant(pixels),
            seed=2,
        )

    def close_the_store_at(self, point: int) -> None:
        """Have the server go away in mid-run."""

        def close(name: str, doc: dict[str, Any]) -> None:
            if doc["seq_num"] == point:
                self.store.close()

        self.RE.subscribe(close, "event")

    def close(self) -> None:
        self.live.close()
        self.saver.close()
        self.store.close()


@pytest.fixture
def measurement(run_engine: RunEngine) -> Iterator[Callable[..., Measurement]]:
    made: list[Measurement] = []

    def make(directory: Path, **settings: Any) -> Measurement:
        made.append(Measurement(directory, run_engine, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def check_frame_counts(store: TiledStore, uids: list[str]) -> None:
    """Each frame on the disk has a row in Tiled, and is classified, flagged or deferred."""
    total = 0
    for uid in uids:
        run = store.runs[uid]
        counts = run.metadata["stop"]["classification"]
        assert counts["frames"] == counts["classified"] + counts["flagged"] + counts["deferred"]
        assert counts["frames"] == run.metadata["stop"]["num_events"]["primary"]
        assert len(find_frames(run)) == len(run["primary/internal"].read()) == counts["frames"]
        assert run["primary/det_image"].shape[0] == counts["frames"]
        total += counts["frames"]
    assert len(list(store.frames_directory.glob("*.h5"))) == total


# The server


SERVER = """
import socket, sys
from pathlib import Path
import uvicorn
from speckle_plugin.store.server.application import make_application
from speckle_plugin.store.server.location import Location

app = make_application(Location.open(Path(sys.argv[1])), sys.argv[2])
listening = socket.create_server(("127.0.0.1", int(sys.argv[3])))
print(listening.getsockname()[1], flush=True)
uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listening])
"""

SCANS = """
import json, signal, subprocess, sys, time
import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
from bluesky import RunEngine
from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network import Bundle
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.store import RunSaver, connect
from speckle_plugin.store.write.outage import LOOK_INTERVAL
from tests.testing import CLASSES, FakeEngine

directory, server_script, fault = sys.argv[1:]
KEY = "ab" * 32

def start(port=0):
    command = [sys.executable, "-c", server_script, directory, KEY, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    return process, int(process.stdout.readline())

def scan(points, before=lambda point: None):
    def plan():
        yield from bps.open_run()
        for point in range(points):
            before(point)
            started = time.monotonic()
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
            yield from bps.sleep(0.3)
            times.append(time.monotonic() - started)
        ends.append(time.monotonic())
        yield from bps.close_run()
    times, ends = [], []
    asked = time.monotonic()
    (uid,) = RE(bpp.stage_wrapper(plan(), [det])).run_start_uids
    done = time.monotonic()
    return {"uid": uid, "slowest": max(times), "start": ends[0] - sum(times) - asked, "end": done - ends[0]}

def go(point):
    if point == 3 and fault == "hangs":
        server.send_signal(signal.SIGSTOP)
    elif point == 3:
        server.kill()
        server.wait()

def come_back():
    if fault == "hangs":
        server.send_signal(signal.SIGCONT)
        return server
    return start(port)[0]

server, port = start()
store = connect(f"http://127.0.0.1:{port}", KEY, directory=directory)
saver = RunSaver(store.runs, store.journal_directory)
live = LiveClassifier(Classifier(Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}), FakeEngine()))
live.subscribe(saver, saves=True)
RE = RunEngine({}, call_returns_result=True)
RE.subscribe(live)
sample = SpeckleSample(name="sample", sample_map=SampleMap("gradient"), seed=1)
det = SpeckleDetector(
    name="det", sample=sample, data_directory=store.frames_directory, grid=quadrant(65), seed=2
)
try:
    scans = [scan(2), scan(8, go), scan(3), scan(2)]
    server = come_back()
    time.sleep(LOOK_INTERVAL)
    scans.append(scan(3))
    print(json.dumps({"scans": scans, "failures": saver.failures}))
finally:
    live.close()
    server.kill()
    server.wait()
    store.close()
"""


def run_script(*command: str, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    """Run a program with the limits of retrying that production has."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TILED_RETRY")}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return subprocess.run(
        [sys.executable, *command],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.parametrize(("fault", "longest_end"), [("is killed", 5), ("hangs", 45)])
def test_a_server_that_goes_and_comes_back(data: Path, fault: str, longest_end: float) -> None:
    """No point and no start takes 5 s; the next runs do not wait; one command makes all whole.

    Only the end of the run in which a server hangs waits, for the client's limit of 30 s: an answer may be
    late, and what has none is replayed.
    """
    ended = run_script("-c", SCANS, str(data), SERVER, fault)
    assert ended.returncode == 0, ended.stderr
    result = json.loads(ended.stdout.splitlines()[-1])
    before, during, *without, after = result["scans"]
    assert during["end"] < longest_end, during
    for scan in (during, *without):
        assert scan["slowest"] < 5 and scan["start"] < 5, scan
    assert all(scan["end"] < 5 for scan in without), without
    lost = {scan["uid"] for scan in (during, *without)}
    assert set(result["failures"]) == lost
    assert {path.stem for path in (data / "journal").glob("*.jsonl")} == lost

    command = ["-c", "from speckle_plugin.cli import app; app()", "replay", "--data", str(data)]
    replayed = run_script(*command)
    assert replayed.returncode == 0, replayed.stderr
    assert sorted(replayed.stdout.split("\n")[:-1]) == sorted(f"{uid}: replayed" for uid in lost)
    with TiledStore(data) as store:
        check_frame_counts(store, [scan["uid"] for scan in result["scans"]])
        runs = [store.runs[scan["uid"]] for scan in (before, during, *without, after)]
        assert [len(run["primary/det_image"].read()) for run in runs] == [2, 8, 3, 2, 3]
        assert {run.metadata["stop"]["exit_status"] for run in runs} == {"success"}


def test_a_server_that_stays_away(data: Path, measurement: Callable[..., Measurement]) -> None:
    """The end of the run in which it dies, and the next run, are in journals."""
    m = measurement(data)
    m.close_the_store_at(2)
    m.RE(bp.count([m.det], 4, delay=0.2))
    m.RE(bp.count([m.det], 2))
    assert set(m.saver.failures) == set(m.started)
    assert all("speckle replay" in message for message in m.saver.failures.values())
    m.close()
    with TiledStore(data) as store:
        assert set(replay(store.journal_directory, store.runs).values()) == {"replayed"}
        check_frame_counts(store, m.started)


@pytest.mark.parametrize(
    ("error", "tries"), [(httpx.ConnectError("refused"), 1), (TypeError("a strange document"), 4)]
)
def test_a_server_that_is_known_to_be_gone_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, tries: int
) -> None:
    """A failure of the connection counts for all runs until the server answers, any other for one run."""
    saver, tried = RunSaver(None, tmp_path), []

    def fail() -> None:
        tried.append(error)
        raise error

    monkeypatch.setattr(saver, "_new_writer", fail)
    monkeypatch.setattr(saver.outage, "_answers", lambda: True)
    for number in range(4):
        for name, doc in documents_of(f"run-{number}", [1, 2]):
            saver(name, doc)
    assert len(tried) == tries
    assert len(saver.failures) == len(list(tmp_path.glob("*.jsonl"))) == 4
    monkeypatch.setattr(saver.outage, "_next_look", 0.0)  # time to look again
    saver(*documents_of("run-4", [1])[0])
    assert len(tried) == tries + 1
    saver.close()


# The disk


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[None]:
    """Have a disk of so many bytes in the place of a folder."""
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a small disk needs the command mount")
    if done.returncode:
        pytest.skip(f"a small disk needs the right to mount one, as root has: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_the_disk_of_frames_is_full(data: Path, measurement: Callable[..., Measurement]) -> None:
    with small_disk(data / "frames", "2m"):
        m = measurement(data, pixels=257)
        with pytest.raises(FailedStatus) as error:
            m.RE(bp.count([m.det], 20))
        assert "No space left on device" in repr(error.value.__cause__ or error.value)
        assert "FrameFileError" in repr(error.value.__cause__ or error.value)
        assert m.saver.failures == {}
        check_frame_counts(m.store, m.started)
        run = m.store.runs[m.started[0]]
        assert run.metadata["stop"]["exit_status"] == "fail"
        frames = len(run["primary/det_image"].read())
        assert 2 <= frames < 20
        # Room is made, and the same session measures on.
        for path in m.store.frames_directory.glob("*.h5"):
            path.unlink()
        m.RE(bp.count([m.det], 2))
        check_frame_counts(m.store, m.started[1:])
        m.close()


def test_the_disk_of_journals_is_full(
    data: Path, measurement: Callable[..., Measurement], caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(data / "journal", "8k"):
        m = measurement(data)
        m.RE(bp.count([m.det], 6))
        of_saver = [r for r in caplog.records if r.name == "speckle_plugin.store.write.saver"]
        assert [r.levelname for r in of_saver] == ["ERROR"]
        assert "No space left on device" in caplog.text and "saved in Tiled only" in caplog.text
        assert m.saver.failures == {}
        check_frame_counts(m.store, m.started)
        m.close()


def test_neither_the_journal_nor_the_server(data: Path, measurement: Callable[..., Measurement]) -> None:
    with small_disk(data / "journal", "8k"):
        m = measurement(data)
        m.close_the_store_at(3)
        with pytest.raises(RuntimeError, match="can't be saved.*neither in Tiled nor in") as error:
            m.RE(bp.count([m.det], 100, delay=0.1))
        assert isinstance(error.value.__cause__, StorageError)
        assert len(list((data / "frames").glob("*.h5"))) < 100, "the scan was stopped"
        m.close()


# Frame files


def remove(path: Path) -> None:
    path.unlink()


def truncate(path: Path) -> None:
    os.truncate(path, 1000)


def delay(path: Path) -> None:
    away = path.with_suffix(".late")
    path.rename(away)
    threading.Timer(0.3, away.rename, [path]).start()


@pytest.mark.parametrize("spoiled", [0, 1])
@pytest.mark.parametrize(("spoil", "late"), [(remove, False), (truncate, False), (delay, True)])
def test_a_frame_file_is_spoiled(
    data: Path,
    measurement: Callable[..., Measurement],
    spoil: Callable[[Path], None],
    late: bool,
    spoiled: int,
) -> None:
    m = measurement(data)

    def plan() -> Any:
        yield from bps.open_run()
        for point in range(3):
            yield from bps.trigger(m.det, wait=True)
            if point == spoiled:
                spoil(next(path for path in m.store.frames_directory.glob("*.h5") if path not in seen))
            seen.update(m.store.frames_directory.glob("*.h5"))
            yield from bps.create()
            yield from bps.read(m.det)
            yield from bps.save()
        yield from bps.close_run()

    seen: set[Path] = set()
    m.RE(bpp.stage_wrapper(plan(), [m.det]))
    assert m.saver.failures == {}
    run = m.store.runs[m.started[0]]
    rows = find_frames(run)
    status = ["classified"] * 3
    if not late:
        status[spoiled] = "deferred"  # a file that cannot be opened may be whole later
    assert list(rows["status"]) == status
    counts = run.metadata["stop"]["classification"]
    assert (counts["frames"], counts["deferred"]) == (3, 0 if late else 1)
    image = run["primary/det_image"]
    for index in range(3):
        if late or index != spoiled:
            assert np.ptp(image[index]) > 0, "the others can be read"
