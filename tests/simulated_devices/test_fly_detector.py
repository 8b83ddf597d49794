"""The detector that flies, in real plans: documents and frames while it flies, pauses, full disks."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, fly
from bluesky.utils import FailedStatus, RunEngineInterrupted
from numpy.typing import NDArray
from ophyd.utils import LimitError

from simulated_devices import (
    DetectorResponse,
    FlySpeckleDetector,
    FrameFileError,
    PixelGrid,
    SpeckleSample,
    regenerate_frame,
)
from simulated_devices.swmr_files import SwmrFrameFile

NOISY = DetectorResponse(photons=1e5, dark_level=2.0, readout_noise=1.0, dtype="uint16")


class Documents:
    """All documents of a run, each checked against its schema, and what was in the file when it came."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []
        self.rows: list[dict[str, Any]] = []
        self.frames: list[NDArray[Any]] = []
        self.times: list[float] = []

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.all.append((name, doc))
        if name == "stream_datum":
            parameters, path = self.file(doc["stream_resource"])
            chosen = slice(doc["indices"]["start"], doc["indices"]["stop"])
            with h5py.File(path) as file:
                self.frames += list(file[parameters["dataset"]][chosen])
                self.times += file[parameters["timestamps"]][chosen].tolist()
        if name == "event_page":
            self.rows += [dict(event["data"]) for event in event_model.unpack_event_page(doc)]  # type: ignore[arg-type]

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [doc for other, doc in self.all if other == name]

    def file(self, uid: str) -> tuple[dict[str, Any], str]:
        (doc,) = (doc for doc in self["stream_resource"] if doc["uid"] == uid)
        return doc["parameters"], urlparse(doc["uri"]).path

    def check(self, frames: int) -> None:
        """See that each frame has its row, and make it again from that."""
        (descriptor,) = self["descriptor"]
        configuration = descriptor["configuration"]["det"]["data"]
        assert len(self.frames) == len(self.rows) == len(self.times) == frames
        for frame, row in zip(self.frames, self.rows, strict=True):
            np.testing.assert_array_equal(regenerate_frame(row, configuration), frame)
        assert self["stop"][0]["num_events"] == {"primary": frames}


@pytest.fixture
def detector(tmp_path: Path) -> FlySpeckleDetector:
    return FlySpeckleDetector(
        name="det",
        sample=SpeckleSample(name="sample", seed=1),
        data_directory=tmp_path / "frames",
        grid=PixelGrid((33, 40), 0.003, (3.5, -2.0)),
        response=NOISY,
        seed=2,
    )


@pytest.fixture
def documents(run_engine: RunEngine) -> Documents:
    documents = Documents()
    run_engine.subscribe(documents)
    return documents


def flight(detector: FlySpeckleDetector, *courses: dict[str, Any], period: float = 0.1) -> Any:
    """Fly with bluesky's own stubs, several times in one run if there are several courses."""

    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def inner() -> Any:
        yield from bps.declare_stream(detector, name="primary", collect=True)
        for course in courses:
            yield from bps.prepare(detector, course, wait=True)
            yield from bps.kickoff(detector, wait=True)
            yield from bpp.finalize_wrapper(
                bps.collect_while_completing([detector], [detector], period, "primary"),
                bps.collect(detector, name="primary"),  # of a flight that fails, the frames so far
            )

    return inner()


def test_frames_come_during_the_flight(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents
) -> None:
    detector.exposure_time.put(0.02)
    started = time.time()
    run_engine(flight(detector, {"num": 20, "motor": detector.sample.x, "start": -1, "stop": 1}))
    documents.check(20)
    assert len(documents["stream_resource"]) == 1
    assert len(documents["stream_datum"]) == len(documents["event_page"]) >= 3
    numbers = [row["det_truth_disk_number"] for row in documents.rows]
    assert numbers[0] == 2 and numbers[-1] == 20 and numbers == sorted(numbers)
    np.testing.assert_allclose([row["det_truth_x"] for row in documents.rows], np.linspace(-1, 1, 20))
    assert len({row["det_truth_seed"] for row in documents.rows}) == 20
    assert documents.times == [
        t for page in documents["event_page"] for t in page["timestamps"]["det_truth_x"]
    ]
    assert started + 0.4 <= documents.times[-1] <= time.time()
    assert min(np.diff(documents.times)) > 0.01
    key = documents["descriptor"][0]["data_keys"]["det_image"]
    assert (key["shape"], key["dtype_numpy"], key["external"]) == ([33, 40], "<u2", "STREAM:")
    for _, doc in documents.all:
        json.dumps(doc)


def test_several_flights_in_one_run(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents
) -> None:
    run_engine(flight(detector, {"num": 3}, {"num": 5}))
    documents.check(8)
    assert len(documents["stream_resource"]) == len(list(detector.data_directory.iterdir())) == 2
    assert documents["stream_datum"][-1]["indices"]["stop"] == 5
    assert documents["stream_datum"][-1]["seq_nums"]["stop"] == 9


def test_it_still_takes_single_exposures(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents
) -> None:
    run_engine(flight(detector, {"num": 2}))
    documents.check(2)
    documents.all.clear()
    run_engine(count([detector], 2))
    assert [name for name, _ in documents.all if name.startswith("stream")] == []
    assert len(documents["event"]) == len(documents["resource"]) == 2


OTHER_PROCESS = """
import sys
import numpy as np
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.frames.reader import read_frames
where = {"path": sys.argv[1], "dataset": "/entry/data/data", "timestamps": "/entry/data/timestamps"}
wanted = [FrameReference(None, 0, 1, 0.0, index=index, **where) for index in range(3)]
sums = [int(np.sum(frame, dtype=np.int64)) for frame in read_frames(wanted)]
print(sums, [frame.timestamp for frame in wanted])
"""


def read_in_another_process(path: Path) -> str:
    return subprocess.run(
        [sys.executable, "-c", OTHER_PROCESS, str(path)], capture_output=True, text=True, check=True
    ).stdout.strip()


def test_another_process_reads_the_open_file(detector: FlySpeckleDetector) -> None:
    detector.stage()
    detector.prepare({"num": 10_000}).wait(1)
    detector.kickoff().wait(10)
    (path,) = detector.data_directory.iterdir()
    while len(detector.flight.written) < 3:  # type: ignore[union-attr]
        time.sleep(0.01)
    live = read_in_another_process(path)
    assert not detector.complete().done
    detector.stop()
    assert detector.complete().done
    assert live == read_in_another_process(path) and "[0.0" not in live and "error" not in live.lower()


def test_frames_of_a_killed_process_can_be_read(tmp_path: Path) -> None:
    path = tmp_path / "frames.h5"
    code = f"""
import os, numpy as np
from pathlib import Path
from simulated_devices.swmr_files import SwmrFrameFile
file = SwmrFrameFile(Path({str(path)!r}), (33, 40), "uint16")
for index in range(3):
    file.append(np.full((33, 40), index, np.uint16), float(index + 1))
os.kill(os.getpid(), 9)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert read_in_another_process(path) == "[0, 1320, 2640] [1.0, 2.0, 3.0]"


@pytest.mark.parametrize("exposure_time", [0.02, 100.0])
def test_stop_closes_the_file_at_once(detector: FlySpeckleDetector, exposure_time: float) -> None:
    detector.exposure_time.put(exposure_time)
    detector.prepare({"num": 10_000}).wait(1)
    detector.kickoff().wait(10)
    with pytest.raises(RuntimeError, match="det is flying: wait for complete"):
        detector.kickoff()
    time.sleep(0.1)
    started = time.monotonic()
    detector.stop()
    assert time.monotonic() - started < 5
    detector.complete().wait(1)
    assert [t for t in threading.enumerate() if t.name == "det-flight"] == []
    (path,) = detector.data_directory.iterdir()
    with h5py.File(path, "r+") as file:
        assert len(file["/entry/data/data"]) == len(detector.flight.written)  # type: ignore[union-attr]


def test_pause_keeps_it_waiting(detector: FlySpeckleDetector) -> None:
    detector.prepare({"num": 10_000}).wait(1)
    detector.kickoff().wait(10)
    detector.pause()
    time.sleep(0.5)
    written = detector.flight.written  # type: ignore[union-attr]
    before = len(written)
    time.sleep(0.3)
    assert len(written) == before
    detector.resume()
    time.sleep(0.3)
    assert len(written) > before
    detector.pause()
    detector.unstage()
    assert [t for t in threading.enumerate() if t.name == "det-flight"] == []


FULL_DISK = """
import resource, sys
from bluesky import RunEngine
from bluesky.utils import FailedStatus
sys.path.insert(0, sys.argv[1])
from simulated_devices import FlySpeckleDetector, SpeckleSample, quadrant
from tests.simulated_devices.test_fly_detector import Documents, flight
if sys.argv[3] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
sample = SpeckleSample(name="sample", seed=1)
detector = FlySpeckleDetector(name="det", sample=sample, data_directory=sys.argv[2], grid=quadrant(129))
documents = Documents()
engine = RunEngine({})
engine.subscribe(documents)
try:
    engine(flight(detector, {"num": 100}))
except FailedStatus as failure:
    print(failure.__cause__)
with_frames = len(documents.frames)
documents.check(with_frames)
print(with_frames, documents["stop"][0]["exit_status"])
"""


@pytest.mark.parametrize("disk", ["limit", "tmpfs"])
def test_full_disk_fails_the_flight_and_keeps_its_frames(tmp_path: Path, disk: str) -> None:
    """In a process of its own: where HDF5 meets a full disk, the process dies."""
    folder = tmp_path / "small"
    folder.mkdir()
    if disk == "tmpfs":
        mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
        if os.geteuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a small disk")
    try:
        root = Path(__file__).parents[2]
        done = subprocess.run(
            [sys.executable, "-c", FULL_DISK, str(root), str(folder), disk],
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        if disk == "tmpfs":
            subprocess.run(["umount", str(folder)], check=True)
    assert done.returncode == 0, done.stderr
    message, result = done.stdout.strip().splitlines()[-2:]
    reason = "File too large" if disk == "limit" else "No space left on device"
    assert message.startswith("cannot write frames to") and f"{reason}. Free space on the disk" in message
    frames, status = result.split()
    assert 10 < int(frames) < 30 and status == "fail"


def test_full_disk_before_the_first_frame(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(FrameFileError, match="File too large. Free space on the disk"):
            SwmrFrameFile(tmp_path / "frames.h5", (33, 40), "uint16")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert list(tmp_path.iterdir()) == []


def test_error_in_the_thread_fails_the_plan(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("so many disks do not fit")

    monkeypatch.setattr("simulated_devices.world.draw_system", fail)
    with pytest.raises(FailedStatus) as failure:
        run_engine(flight(detector, {"num": 3}))
    assert "so many disks do not fit" in str(failure.value.__cause__)
    assert documents["stop"][0]["exit_status"] == "fail"


def test_abort_ends_the_thread(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents
) -> None:
    detector.exposure_time.put(0.05)
    threading.Timer(0.5, run_engine.request_pause).start()
    with pytest.raises(RunEngineInterrupted):
        run_engine(flight(detector, {"num": 10_000}))
    run_engine.abort()
    documents.check(len(documents.rows))
    assert documents.rows and documents["stop"][0]["exit_status"] == "abort"
    assert [t for t in threading.enumerate() if t.name == "det-flight"] == []


def test_wrong_courses(detector: FlySpeckleDetector) -> None:
    x = detector.sample.x
    with pytest.raises(RuntimeError, match="det is not flying: kick it off first"):
        detector.complete()
    with pytest.raises(ValueError, match="expected an integer of 1 or more, got 0"):
        detector.prepare({"num": 0})
    with pytest.raises(ValueError, match="expected motor, start and stop, or none of them"):
        detector.prepare({"num": 2, "motor": x, "start": 0})
    with pytest.raises(LimitError, match="scan within the limits"):
        detector.prepare({"num": 2, "motor": x, "start": 0, "stop": 2})
    with pytest.raises(TypeError, match="speed"):
        detector.prepare({"num": 2, "speed": 3})


@pytest.mark.parametrize("prepared", [2, None])
def test_the_plan_fly(
    run_engine: RunEngine, detector: FlySpeckleDetector, documents: Documents, prepared: int | None
) -> None:
    """It declares no stream, which bluesky wants of streamed frames: they have Datums. Twice in a row."""
    if prepared:
        detector.prepare({"num": prepared}).wait(1)
    for _ in range(2):
        run_engine(fly([detector]))
    frames = prepared or detector.flight_frames.get()
    assert [stop["num_events"] for stop in documents["stop"]] == [{"det_flight": frames}] * 2
    assert len(documents["resource"]) == 2 and len(documents["datum"]) == 2 * frames
    numbers = [datum["datum_kwargs"]["point_number"] for datum in documents["datum"]]
    assert numbers == [*range(frames)] * 2
    named = [datum_id for page in documents["event_page"] for datum_id in page["data"]["det_image"]]
    assert named == [datum["datum_id"] for datum in documents["datum"]]
