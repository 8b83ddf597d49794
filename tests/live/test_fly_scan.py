"""Fly scans end to end: a real RunEngine, the shipped weights, files read while they grow, a real Tiled."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any, cast

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky.utils import FailedStatus, MsgGenerator, RunEngineInterrupted

from simulated_devices import FlySpeckleDetector, FrameFileError, SampleMap, SpeckleSample, regenerate_frame
from speckle_plugin.plans import classify_fly
from speckle_plugin.session import Session, start_session
from speckle_plugin.store import find_frames
from training.stored_frames import frames_of_truth

EXPOSURE = 0.1
FRAMES = 40


class Watcher:
    """Notes, as documents are delivered, how far the flight is."""

    def __init__(self, detector: FlySpeckleDetector) -> None:
        self.results_while_flying = 0
        self._detector = detector
        self._names: dict[str, str] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        if name == "descriptor":
            self._names[doc["uid"]] = doc["name"]
        if name == "event" and self._names.get(doc["descriptor"]) == "classification":
            flight = self._detector.flight
            self.results_while_flying += flight is not None and not flight.ended.done


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with start_session(tmp_path_factory.mktemp("data"), table=False) as session:
        session.live.classifier  # noqa: B018  loaded before the first flight
        yield session


@pytest.fixture(scope="module")
def det(session: Session) -> FlySpeckleDetector:
    sample = SpeckleSample(name="sample", sample_map=SampleMap("steps", seed=5), seed=5)
    return FlySpeckleDetector(
        name="det",
        sample=sample,
        data_directory=session.store.frames_directory,
        exposure_time=EXPOSURE,
        nominal_exposure_time=EXPOSURE,
        seed=6,
    )


def check(session: Session, uid: str, frames: int | None = None) -> int:
    """See that every frame of a run has its row and its truth, and can be made again; give their number."""
    run = session.catalog[uid]
    assert run.validate()
    assert not session.saver.failures
    table = find_frames(run)
    stored = run["primary"]["det_image"].read()
    summary = run.metadata["stop"]["classification"]
    count = len(stored)
    assert count == frames or (frames is None and count > 0)
    assert len(table) == summary["frames"] == summary["classified"] == count
    assert run.metadata["stop"]["num_events"] == {"primary": count, "classification": count}
    assert table["frame_index"].tolist() == list(range(count))
    assert not table["truth_disk_number"].isna().any()
    rows = run["primary"].base["internal"].read()
    assert rows["seq_num"].tolist() == list(range(1, count + 1))
    configuration = run["primary"].metadata["configuration"]["det"]["data"]
    for index in range(0, count, max(1, count // 10)):
        again = regenerate_frame(dict(rows.iloc[index]), configuration)
        np.testing.assert_array_equal(stored[index], again)
    labelled = frames_of_truth({uid: run})
    assert [frame.disk_number for frame in labelled.frames] == table["truth_disk_number"].tolist()
    return count


READER = """
import json, sys
from tiled.client import from_uri
runs = from_uri(sys.argv[1], api_key=sys.argv[2])
before = len(runs)
print("ready", flush=True)
stop = None
while not stop:
    if len(runs) == before:
        continue
    run = runs.values().last()
    stop = run.metadata.get("stop")
    try:
        image, rows = run["primary/det_image"].read(), run["classification/internal"].read()
    except KeyError:  # no frame or no result yet
        continue
    if not stop:
        print(json.dumps([len(image), len(rows), bool((image.max(axis=(1, 2)) > 0).all())]), flush=True)
"""
"""Another process: reads all frames and results of a run again and again until it is over."""


def test_frames_are_classified_and_readable_during_the_flight(
    session: Session, det: FlySpeckleDetector
) -> None:
    """By the pipeline's thread, and by another process through Tiled."""
    watcher = Watcher(det)
    token = session.live.subscribe(watcher)
    command = [sys.executable, "-c", READER, session.store.uri, str(session.store.api_key)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as reader:
        assert reader.stdout is not None
        assert reader.stdout.readline() == "ready\n"
        det.exposure_time.put(0.25)  # long enough to look several times
        (uid,) = cast("tuple[str, ...]", session.RE(classify_fly(det, FRAMES, det.sample.x, -1, 1)))
        output, errors = reader.communicate(timeout=60)
    det.exposure_time.put(EXPOSURE)
    session.live.unsubscribe(token)
    check(session, uid, FRAMES)
    assert watcher.results_while_flying >= FRAMES // 2
    assert not errors
    looks = [json.loads(line) for line in output.splitlines()]
    assert len(looks) > 1
    assert all(whole for _, _, whole in looks)
    images, rows = ([look[i] for look in looks] for i in (0, 1))
    assert images == sorted(images)
    assert rows == sorted(rows)
    assert 0 < images[0] < FRAMES
    assert any(0 < count < FRAMES for count in rows)
    table = find_frames(session.catalog[uid])
    assert (table["disk_number"] == table["truth_disk_number"]).mean() > 0.9
    assert table["truth_disk_number"].nunique() > 3  # the stage moved
    start = session.catalog[uid].metadata["start"]
    assert start["plan_args"] == {"num": FRAMES, "motor": "sample_x", "start": -1.0, "stop": 1.0}


def test_latency_counts_from_the_exposure(session: Session, det: FlySpeckleDetector) -> None:
    (uid,) = cast("tuple[str, ...]", session.RE(classify_fly(det, 6, flush_period=2.0)))
    latency = session.catalog[uid]["classification"].base["internal"].read()["latency"].to_numpy()
    assert (latency > 0).all()
    # They were collected at once, so that the first had waited for the others to be exposed.
    assert latency[0] - latency[-1] > 3 * EXPOSURE


def test_several_flights_in_one_run(session: Session, det: FlySpeckleDetector) -> None:
    def plan() -> MsgGenerator[None]:
        yield from bps.declare_stream(det, name="primary", collect=True)
        for num in (3, 5, 2):
            yield from bps.prepare(det, {"num": num}, wait=True)
            yield from bps.kickoff(det, wait=True)
            yield from bps.collect_while_completing([det], [det], 0.1, "primary")

    (uid,) = cast("tuple[str, ...]", session.RE(bpp.stage_wrapper(bpp.run_wrapper(plan()), [det])))
    check(session, uid, 10)


def interrupt(session: Session, det: FlySpeckleDetector) -> str:
    """Pause a flight of 30 frames on its way."""
    uids: list[str] = []
    token = session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")
    timer = threading.Timer(12 * EXPOSURE, session.RE.request_pause)
    timer.start()
    with pytest.raises(RunEngineInterrupted):
        session.RE(classify_fly(det, 30, det.sample.x, -1, 1))
    timer.join()
    session.RE.unsubscribe(token)
    return uids[0]


def test_a_paused_flight_goes_on(session: Session, det: FlySpeckleDetector) -> None:
    uid = interrupt(session, det)
    session.RE.resume()
    check(session, uid, 30)


@pytest.mark.parametrize("end", ["abort", "stop"])
def test_an_ended_flight_keeps_its_frames(session: Session, det: FlySpeckleDetector, end: str) -> None:
    uid = interrupt(session, det)
    getattr(session.RE, end)()
    assert check(session, uid) < 30
    assert session.catalog[uid].metadata["stop"]["exit_status"] == ("abort" if end == "abort" else "success")
    assert [t for t in threading.enumerate() if t.name == "det-flight"] == []


def test_a_failed_flight_keeps_its_frames(
    session: Session, det: FlySpeckleDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids: list[str] = []
    token = session.RE.subscribe(lambda _, doc: uids.append(doc["uid"]), "start")
    taken = det.take_frame

    def fill_the_disk(flight: Any, file: Any, index: int) -> bool:
        if index == 7:
            raise FrameFileError("cannot write frames: No space left on device")
        return taken(flight, file, index)

    monkeypatch.setattr(det, "take_frame", fill_the_disk)
    with pytest.raises(FailedStatus) as failure:
        session.RE(classify_fly(det, 30))
    session.RE.unsubscribe(token)
    assert isinstance(failure.value.__cause__, FrameFileError)
    check(session, uids[0], 7)
    assert session.catalog[uids[0]].metadata["stop"]["exit_status"] == "fail"


def test_a_course_must_be_whole(det: FlySpeckleDetector) -> None:
    with pytest.raises(ValueError, match="expected motor, start, stop, or none of them, got 2 arguments"):
        list(classify_fly(det, 3, det.sample.x, 0))
    with pytest.raises(ValueError, match="when_full must be 'wait'"):
        list(classify_fly(det, 3, when_full=cast("Any", "never")))
