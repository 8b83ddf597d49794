"""Workers label what sessions store: no frame twice, and nothing is lost when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.session import Session
from speckle_plugin.store import StoredRun, find_frames
from speckle_plugin.store.leases import RunLeases
from speckle_plugin.worker import Worker
from speckle_plugin.worker.catalog import listen_for_changes

# Tiled (0.2.20) opens its subscriptions in a way that websockets (17) wants changed.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")

COMMAND = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", "worker"]


def result_streams(session: Session, uid: str) -> list[str]:
    return sorted(name for name in session.catalog[uid].base if name.startswith("classification"))


def test_a_lease_is_held_by_one_and_dies_with_its_process(tmp_path: Path) -> None:
    leases = RunLeases(tmp_path / "leases")
    first = leases.take("a/b")
    assert first is not None and RunLeases(tmp_path / "leases").take("a/b") is None
    with leases.holding("other") as mine:
        assert mine
    first.release()
    with leases.holding("a/b") as mine:
        assert mine
    code = (
        "import os, sys, pathlib; from speckle_plugin.store.leases import RunLeases; "
        "held = RunLeases(pathlib.Path(sys.argv[1])).take('a/b'); print('held', flush=True); sys.stdin.read()"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / "leases")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with process:
        assert process.stdout is not None and process.stdout.readline() == b"held\n"
        assert leases.take("a/b") is None
        process.kill()
        process.wait()
    again = leases.take("a/b")
    assert again is not None
    again.release()
    assert not list((tmp_path / "leases").glob("a*"))


def test_a_run_without_labels_gets_them_once(
    session: Session, measure: Callable[[int], str], make_worker: Callable[..., Worker]
) -> None:
    uid = measure(3)
    assert "classification" not in session.catalog[uid].metadata["stop"], "its session classifies nothing"
    first, second = make_worker(), make_worker()
    assert (first.work(), second.work(), first.work()) == (1, 0, 0)
    summary = session.catalog[uid].metadata["stop"]["classification"]
    assert (summary["frames"], summary["classified"], summary["model"]) == (3, 3, "small")
    assert len(find_frames(session.catalog[uid])) == 3
    assert len(result_streams(session, uid)) == 1


def test_what_the_worker_is_told_of_frames_holds_for_runs_without_labels(
    session: Session, measure: Callable[[int], str], make_worker: Callable[..., Worker]
) -> None:
    uid = measure(2)
    assert make_worker(frames=FrameSettings(divide_by_flats=True)).work() == 1
    assert set(find_frames(session.catalog[uid])["flags"].str.contains("no_flat")) == {True}
    # Later ones go by the results that are there.
    model = StoredRun(session.catalog[uid]).model
    assert model["divide_by_flats"] == 1 and model["orientation"] == "as-stored"


def test_a_run_that_another_worker_holds_is_left_to_it(
    session: Session, measure: Callable[[int], str], make_worker: Callable[..., Worker]
) -> None:
    uid = measure(1)
    lease = RunLeases(session.store.frames_directory.parent / "workers").take(uid)
    assert lease is not None
    worker = make_worker()
    assert worker.work() == 0
    lease.release()  # as when that one was killed
    assert worker.work() == 1


def test_two_processes_share_the_runs(
    session: Session, measure: Callable[[int], str], bundle_file: Path
) -> None:
    uids = [measure(2) for _ in range(5)]
    data = session.store.frames_directory.parent
    command = [*COMMAND, "--data", str(data), "--model", str(bundle_file), "--once"]
    workers = [
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)
    ]
    said = [worker.communicate(timeout=200) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0], said
    lines = [line for out, _ in said for line in out.splitlines()]
    assert sorted(line.split("(")[1][:8] for line in lines) == sorted(uid[:8] for uid in uids)
    for uid in uids:
        assert session.catalog[uid].metadata["stop"]["classification"]["classified"] == 2
        assert len(result_streams(session, uid)) == 1


def test_a_worker_that_is_killed_loses_nothing(
    session: Session,
    measure: Callable[[int], str],
    bundle_file: Path,
    make_worker: Callable[..., Worker],
) -> None:
    uid = measure(40)
    data = session.store.frames_directory.parent
    command = [*COMMAND, "--data", str(data), "--model", str(bundle_file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        until = time.monotonic() + 100
        while not list((data / "workers").glob("*.lease")) and time.monotonic() < until:
            time.sleep(0.01)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    done = make_worker().work()
    summary = session.catalog[uid].metadata["stop"]["classification"]
    assert summary["classified"] == summary["frames"] == len(find_frames(session.catalog[uid])) == 40
    assert done <= 1, "unless the first one had finished just before"


def test_it_works_until_it_is_told_to_end(
    session: Session, measure: Callable[[int], str], make_worker: Callable[..., Worker]
) -> None:
    worker = make_worker()
    thread = threading.Thread(target=worker.run, args=(60.0,))  # so the server must tell of the run
    thread.start()
    uid = measure(1)
    until = time.monotonic() + 45
    while "classification" not in session.catalog[uid].metadata["stop"] and time.monotonic() < until:
        time.sleep(0.1)
    assert session.catalog[uid].metadata["stop"]["classification"]["classified"] == 1
    worker.end()
    thread.join(30)
    assert not thread.is_alive()


def test_the_server_tells_of_changes(session: Session, measure: Callable[[int], str]) -> None:
    changed = threading.Event()
    changes = listen_for_changes(session.catalog, changed)
    measure(1)
    assert changed.wait(20)
    changes.close()


def test_sigterm_ends_it(session: Session, bundle_file: Path) -> None:
    data = session.store.frames_directory.parent
    command = [*COMMAND, "--data", str(data), "--model", str(bundle_file), "--engine", "openvino"]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=os.environ | {"PYTHONUNBUFFERED": "1"}
    ) as process:
        assert process.stderr is not None
        while "Ctrl-C ends it" not in (line := process.stderr.readline()):
            assert line, "it ended by itself"
        process.terminate()
        assert process.wait(60) == 0, process.stderr.read()


def test_once_on_nothing(session: Session, bundle_file: Path) -> None:
    data = session.store.frames_directory.parent
    result = subprocess.run(
        [*COMMAND, "--data", str(data), "--model", str(bundle_file), "--once"],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "0 runs done" in result.stderr


@pytest.mark.parametrize("since", ["2100-01-01"])
def test_runs_that_started_before_are_left_alone(
    session: Session, measure: Callable[[int], str], bundle_file: Path, since: str, tmp_path: Path
) -> None:
    from speckle_plugin.network import load_bundle

    measure(1)
    worker = Worker(session.store, tmp_path, load_bundle(bundle_file), since=since)
    assert worker.work() == 0
    worker.close()
