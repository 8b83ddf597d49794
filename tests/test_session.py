"""The main job on real parts: shipped weights, real files, a real Tiled server, a second process."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, regenerate_frame
from speckle_plugin.network import BundleError
from speckle_plugin.plans import classify_grid_scan
from speckle_plugin.session import Session, start_session
from speckle_plugin.store import TiledStore, connect, find_frames, find_runs

POINTS = 4


def measure(session: Session, plan: MsgGenerator[Any]) -> str:
    """Run a plan of one run, and give its uid."""
    (uid,) = cast("tuple[str, ...]", session.RE(plan))
    return uid


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    with start_session(tmp_path_factory.mktemp("data"), profile="speckle_test", table=False) as session:
        yield session


@pytest.fixture(scope="module")
def det(session: Session) -> SpeckleDetector:
    sample = SpeckleSample(name="sample", sample_map=SampleMap("patches", seed=5, parts=12), seed=5)
    return SpeckleDetector(name="det", sample=sample, data_directory=session.store.frames_directory, seed=6)


@pytest.fixture(scope="module")
def scan(session: Session, det: SpeckleDetector) -> str:
    sample = det.sample
    uid = measure(session, classify_grid_scan([det], sample.y, -1, 1, POINTS, sample.x, -1, 1, POINTS))
    return uid


def test_the_scan_is_classified_and_stored(session: Session, scan: str) -> None:
    run = session.catalog[scan]
    assert run.validate()
    assert not session.saver.failures
    summary = run.metadata["stop"]["classification"]
    assert summary["frames"] == summary["classified"] == POINTS**2
    table = find_frames(run)
    assert len(table) == POINTS**2
    assert (table["disk_number"] == table["truth_disk_number"]).mean() >= 0.9
    assert {"sample_x", "sample_y"} <= set(table.columns)


def test_stored_frames_can_be_made_again(session: Session, scan: str) -> None:
    run = session.catalog[scan]
    stored = run["primary"]["det_image"].read()
    configuration = run["primary"].metadata["configuration"]["det"]["data"]
    rows = run["primary"].base["internal"].read()
    for index in (0, 7, 15):
        again = regenerate_frame(dict(rows.iloc[index]), configuration)
        np.testing.assert_array_equal(stored[index], again)


def test_probabilities_are_stored(session: Session, scan: str) -> None:
    stored = np.asarray(session.catalog[scan]["classification"]["probabilities"].read())
    assert stored.shape == (POINTS**2, 19)
    np.testing.assert_allclose(stored.sum(axis=1), 1.0, atol=1e-5)


def test_queries_find_it(session: Session, scan: str) -> None:
    label = session.catalog[scan].metadata["stop"]["classification"]["labels"][0]
    assert scan in set(find_runs(session.catalog, label=label))
    assert scan not in set(find_runs(session.catalog, label=label, until="2020-01-01"))
    frames = find_frames(session.catalog, label=label, with_frames=True)
    assert len(frames) and all(frame.shape == (257, 257) for frame in frames["frame"])


def test_results_can_be_read_during_the_run(session: Session, det: SpeckleDetector) -> None:
    seen: list[tuple[int, int]] = []

    def plan() -> MsgGenerator[None]:
        uid = yield from bps.open_run()
        for _ in range(3):
            yield from bps.trigger_and_read([det])
        yield from bps.sleep(3.0)
        run = session.catalog[uid]
        seen.append((len(find_frames(run)), len(run["primary"]["det_image"].read())))
        yield from bps.close_run()

    session.RE(bpp.stage_wrapper(plan(), [det]))
    assert seen == [(3, 3)]


def test_plans_of_bluesky_are_classified(session: Session, det: SpeckleDetector) -> None:
    uid = measure(session, bp.count([det], 2))
    assert session.catalog[uid].metadata["stop"]["classification"]["classified"] == 2
    assert session.live.reports[uid].to_stored


def test_databroker_reads_it_in_another_process(session: Session, scan: str) -> None:
    code = f"""
import databroker
run = databroker.catalog["speckle_test"][{scan!r}]
print(len(run["classification"].base["internal"].read()), run["primary"]["det_image"].read().shape)
"""
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.split("\n")[0] == f"{POINTS**2} ({POINTS**2}, 257, 257)"


def test_a_second_session_on_the_directory(session: Session, scan: str) -> None:
    """Both measure; each sees the other's runs, and its end takes nothing from the other."""
    with start_session(session.store.frames_directory.parent, profile="speckle_test", table=False) as other:
        assert (other.store.uri, other.store.api_key) == (session.store.uri, session.store.api_key)
        det = SpeckleDetector(
            name="det",
            sample=SpeckleSample(name="sample", seed=9),
            data_directory=other.store.frames_directory,
            seed=9,
        )
        uid = measure(other, bp.count([det], 2))
        assert scan in other.catalog
    assert session.catalog[uid].metadata["stop"]["classification"]["classified"] == 2
    with connect("speckle_test") as reader:  # the profile stays
        assert reader.uri == session.store.uri


def test_a_missing_bundle_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no bundle at"):
        start_session(tmp_path, model="no-such-model")


def test_scan_ids_go_on_and_runs_stay(tmp_path: Path) -> None:
    sample = SpeckleSample(name="sample", seed=1)
    with start_session(tmp_path, table=False) as session:
        det = SpeckleDetector(
            name="det", sample=sample, data_directory=session.store.frames_directory, seed=1
        )
        first = measure(session, bp.count([det]))
    with start_session(tmp_path, table=False) as session:
        det = SpeckleDetector(
            name="det", sample=sample, data_directory=session.store.frames_directory, seed=2
        )
        second = measure(session, bp.count([det]))
        ids = [session.catalog[uid].metadata["start"]["scan_id"] for uid in (first, second)]
    assert ids == [1, 2]
    with TiledStore(tmp_path) as store:
        assert len(find_frames(store.runs)) == 2


def test_a_run_engine_of_ones_own(tmp_path: Path) -> None:
    """It keeps what it has, and is left alone when the session ends."""
    mine, documents = RunEngine({"scan_id": 41, "beamline": "X"}), []
    mine.subscribe(lambda name, doc: documents.append(name))
    with start_session(tmp_path, run_engine=mine, table=False) as session:
        assert session.RE is mine
        det = SpeckleDetector(
            name="det",
            sample=SpeckleSample(name="sample", seed=1),
            data_directory=session.store.frames_directory,
            seed=1,
        )
        uid = measure(session, bp.count([det]))
        start = session.catalog[uid].metadata["start"]
        assert (start["scan_id"], start["beamline"]) == (42, "X")
        assert session.catalog[uid].metadata["stop"]["classification"]["classified"] == 1
    assert "stop" in documents
    documents.clear()
    mine(bp.count([det]))
    assert documents[-1] == "stop" and not session.saver.failures


CTRL_C = """
import sys
import bluesky.plans as bp
from simulated_devices import SpeckleDetector, SpeckleSample
from speckle_plugin.session import start_session

with start_session(sys.argv[1], table=False) as session:
    sample = SpeckleSample(name="sample", seed=1)
    det = SpeckleDetector(name="det", sample=sample, data_directory=session.store.frames_directory, seed=1)
    session.live.classifier
    session.RE.subscribe(lambda name, doc: name == "event" and print("event", flush=True))
    session.RE(bp.count([det], 10000, delay=0.05))
"""


def test_ctrl_c_loses_nothing_and_the_interpreter_exits(tmp_path: Path) -> None:
    script = tmp_path / "scan.py"
    script.write_text(CTRL_C)
    data = tmp_path / "data"
    process = subprocess.Popen(
        [sys.executable, str(script), str(data)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(5):
        assert process.stdout.readline() == "event\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0 and "RunEngineInterrupted" in errors
    with TiledStore(data) as store:
        run = store.runs[-1]
        summary = run.metadata["stop"]["classification"]
        assert run.metadata["stop"]["exit_status"] == "abort"
        assert summary["frames"] == summary["classified"] == len(find_frames(run)) >= 5
        assert len(run["primary"]["det_image"].read()) == summary["frames"]


def test_closing_waits_for_a_network_that_is_being_loaded(tmp_path: Path) -> None:
    start_session(tmp_path / "data", table=False).close()
    # An interpreter that ends while this thread is in OpenVINO's code is aborted.
    assert "speckle-load" not in [thread.name for thread in threading.enumerate()]
