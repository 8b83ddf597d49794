"""Several processes on one data directory, and processes that are killed: real ones, with real servers."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.session import Session
from speckle_plugin.store import RunSaver, StorageError, TiledStore, find_frames
from speckle_plugin.store.lock import DirectoryLock, Lease, is_held
from speckle_plugin.store.server import join as joining
from speckle_plugin.store.server.address import Address, read_address, write_address
from speckle_plugin.store.server.join import (
    find_or_start,
    idle_setting,
    is_used,
    join,
    wait_until_ended,
)
from speckle_plugin.store.write.journal import read_journal
from speckle_plugin.store.write.keeper import JournalKeeper
from tests.testing import CLASSES, FakeEngine, mounted

ENDS_WITHIN = 20.0
"""Seconds, on a busy machine; an idle machine takes one."""


def start_script(text: str, *arguments: object, **environment: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment}
    command = [sys.executable, "-c", text, *map(str, arguments)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )


def server_of(directory: Path) -> Address:
    address = read_address(directory)
    assert address is not None
    return address


MEASURE = """
import sys, time, uuid
from pathlib import Path
from speckle_plugin.store import RunSaver, TiledStore
from tests.testing import documents_of

with TiledStore(sys.argv[1]) as store:
    print(store.uri, flush=True)
    saver = RunSaver(store.runs, store.journal_directory)
    for number in range(int(sys.argv[2])):
        uid = str(uuid.uuid4())
        for name, doc in documents_of(uid, range(1, 9), store.frames_directory):
            saver(name, doc)
            if name == "event":
                saver.flush()
                print("event", uid, flush=True)
    print(sorted(saver.failures))
"""


def test_two_processes_start_and_measure_at_the_same_moment(data_directory: Path) -> None:
    runs = 3
    processes = [start_script(MEASURE, data_directory, runs) for _ in range(2)]
    ended = [process.communicate(timeout=200) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    lines = [output.splitlines() for output, _ in ended]
    assert lines[0][0] == lines[1][0], "one server"
    assert [of_one[-1] for of_one in lines] == ["[]", "[]"], "no failures"
    assert wait_until_ended(data_directory, ENDS_WITHIN) and read_address(data_directory) is None
    with TiledStore(data_directory) as store:
        assert len(store.runs) == 2 * runs
        for run in store.runs.values():
            assert run["primary/det_image"][:, 0, 0].tolist() == list(range(8))
            assert list(run["primary/internal"].read()["x"]) == list(range(8))
            assert run.metadata["stop"]["exit_status"] == "success"
    assert not list((data_directory / "journal").iterdir())


def test_a_killed_process_takes_nothing_from_the_others(data_directory: Path) -> None:
    """Its run can be read as far as it came, is made whole by a session, and its lease ends."""
    with TiledStore(data_directory) as store:
        killed = start_script(MEASURE, data_directory, 100)
        assert killed.stdout is not None
        assert killed.stdout.readline() == f"{store.uri}\n"
        uid = [killed.stdout.readline() for _ in range(3)][-1].split()[1]
        killed.kill()
        killed.communicate()
        run = store.runs[uid]
        assert "stop" not in run.metadata
        seen = run["primary/det_image"].read()[:, 0, 0].tolist()
        assert len(seen) >= 3 and seen == list(range(len(seen)))
        saver = RunSaver(store.runs, store.journal_directory)
        keeper = JournalKeeper(saver, store.runs, store.journal_directory)
        keeper.look(at_rest=0.0)
        keeper.close()
        whole = store.runs[uid]
        assert whole.metadata["stop"]["reason"] == "recovered from journal"
        rows = list(whole["primary/internal"].read()["x"])
        assert len(rows) >= len(seen) and rows == list(range(len(rows)))
    assert not is_held(data_directory)


def test_no_server_stays_when_its_users_were_killed(data_directory: Path) -> None:
    killed = start_script(MEASURE, data_directory, 100, SPECKLE_SERVER_IDLE="1")
    assert killed.stdout is not None
    killed.stdout.readline()
    assert is_held(data_directory) and is_used(data_directory)
    killed.kill()
    killed.communicate()
    assert wait_until_ended(data_directory, ENDS_WITHIN)
    assert read_address(data_directory) is None
    assert not list((data_directory / "tiled").glob("*.wal"))


def test_a_server_stays_for_the_next_command(
    data_directory: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SPECKLE_SERVER_IDLE", "3")
    with TiledStore(data_directory) as store:
        first, key = server_of(data_directory), store.api_key
    assert is_held(data_directory) and not is_used(data_directory)
    with TiledStore(data_directory) as store:
        assert server_of(data_directory) == first and store.api_key == key
    assert wait_until_ended(data_directory, ENDS_WITHIN)


@pytest.fixture
def _nobody_starts_a_server_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "WATCH_INTERVAL", 3600.0)


@pytest.fixture
def session(data_directory: Path, run_engine: RunEngine) -> Iterator[Session]:
    store = TiledStore(data_directory)
    live = LiveClassifier(Classifier(Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}), FakeEngine()))
    saver = RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    with Session(run_engine, live, store, saver) as opened:
        yield opened


@pytest.fixture
def scan(session: Session, data_directory: Path) -> Callable[..., str]:
    """Scan, and kill the server at a point; gives the run's uid."""
    det: Any = SpeckleDetector(
        name="det",
        sample=SpeckleSample(name="sample", sample_map=SampleMap("gradient"), seed=1),
        data_directory=session.store.frames_directory,
        grid=quadrant(65),
        seed=2,
    )

    def plan(kill_at: int | None) -> Any:
        yield from bps.open_run()
        for point in range(6):
            if point == kill_at:
                os.kill(server_of(data_directory).pid, signal.SIGKILL)
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
            yield from bps.sleep(0.2)
        yield from bps.close_run()

    def scan(kill_at: int | None = None) -> str:
        result: Any = session.RE(bpp.stage_wrapper(plan(kill_at), [det]))
        return str(result.run_start_uids[0])

    return scan


def told_of(uid: str, caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what the log says of whether a run is saved."""
    return [
        record.levelname
        for record in caplog.records
        if f"the run {uid} could not be saved in Tiled" in record.message
        or f"the run {uid} was left in its journal: replayed" in record.message
    ]


def wait_until_whole(session: Session) -> None:
    end = time.monotonic() + 4 * ENDS_WITHIN
    while session.saver.failures and time.monotonic() < end:
        time.sleep(0.1)
    assert not session.saver.failures, "the journal was replayed"


def check_runs(session: Session, data_directory: Path, uids: list[str]) -> None:
    for uid in uids:
        run = session.catalog[uid]
        assert len(find_frames(run)) == len(run["primary/det_image"].read()) == 6
        assert run.metadata["stop"]["exit_status"] == "success"
        assert run.metadata["stop"]["classification"]["classified"] == 6
    assert not list((data_directory / "journal").iterdir())


def test_a_server_killed_in_mid_scan_comes_back(
    session: Session, data_directory: Path, scan: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    """On the same port and with the same key; no frame is lost, and no command is needed.

    It is back within two seconds, while the writer tries again. If that was too late for the run, the user
    is told that it is in its journal, and then that it is whole; else neither.
    """
    before = server_of(data_directory)
    uids = [scan(kill_at) for kill_at in (None, 3)]
    wait_until_whole(session)
    assert told_of(uids[1], caplog) in ([], ["ERROR", "WARNING"]) and not told_of(uids[0], caplog)
    assert f"the Tiled server of {data_directory} has ended; it is started again" in caplog.messages
    after = server_of(data_directory)
    assert after.pid != before.pid
    assert (after.port, after.api_key) == (before.port, before.api_key)
    uids.append(scan())
    assert not session.saver.failures and not told_of(uids[2], caplog)
    check_runs(session, data_directory, uids)


def test_a_run_that_a_killed_server_did_not_take_is_told(
    _nobody_starts_a_server_again: None,
    session: Session,
    data_directory: Path,
    scan: Callable[..., str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The server is back only after the scan, which the writer does not wait for."""
    uids = [scan(kill_at) for kill_at in (None, 3)]
    assert session.saver.failures.keys() == {uids[1]}
    reason, journal = session.saver.failures[uids[1]], data_directory / "journal" / f"{uids[1]}.jsonl"
    assert f"It is kept in {journal}. An open session saves it" in reason
    assert reason.endswith(f"without one: speckle replay --data {data_directory}")
    assert len(read_journal(journal)) > 12 and read_journal(journal)[-1][0] == "stop"
    find_or_start(data_directory)  # as the next process that opens it does
    wait_until_whole(session)
    assert told_of(uids[1], caplog) == ["ERROR", "WARNING"] and not told_of(uids[0], caplog)
    check_runs(session, data_directory, uids)


def test_a_port_that_is_taken(data_directory: Path) -> None:
    """A server that was killed leaves its address; its port may be another program's by now."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        left = Address(port, "cd" * 32, 1, socket.gethostname(), "0", str(data_directory), 0.0)
        write_address(data_directory, left)
        with TiledStore(data_directory) as store:
            address = server_of(data_directory)
            assert address.port != port and address.api_key == store.api_key != left.api_key
        with pytest.raises(StorageError, match=f"can't listen on port {port}.*give another port"):
            TiledStore(data_directory, port=port)


def test_speckle_serve(data_directory: Path) -> None:
    code = "from speckle_plugin.cli import app; app()"
    command = [sys.executable, "-c", code, "serve", "--data", str(data_directory)]
    served = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert served.stdout is not None
    first = served.stdout.readline()
    with TiledStore(data_directory) as store:
        assert store.uri in first
        server = server_of(data_directory)
    os.kill(server.pid, 0)  # it stays, though nobody else uses it
    assert "speckle query --data" in served.stdout.readline()
    assert served.stderr is not None
    while "Ctrl-C ends it" not in (line := served.stderr.readline()):
        assert line, "it ended by itself"
    served.send_signal(signal.SIGINT)
    _, errors = served.communicate(timeout=60)
    assert served.returncode == 0 and "Traceback" not in errors
    assert not is_held(data_directory)


# What can't be joined: no server is started here


def test_a_directory_that_an_older_version_holds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "GRACE", 0.1)
    lock = DirectoryLock(tmp_path)
    owner = {"pid": 4711, "host": socket.gethostname(), "since": "2026-11-24 10:00:00"}
    (tmp_path / "lock").write_text(json.dumps(owner))
    with pytest.raises(StorageError, match=r"is open in process 4711 .* by an older version"):
        TiledStore(tmp_path)
    lock.release()


def test_a_directory_that_is_served_by_another_machine(tmp_path: Path) -> None:
    (tmp_path / "tiled").mkdir()
    lock = DirectoryLock(tmp_path)
    owner = {"pid": 4711, "host": "beamline-7", "since": "2026-11-24 10:00:00", "version": "0.2"}
    (tmp_path / "lock").write_text(json.dumps(owner))
    write_address(tmp_path, Address(8000, "k", 4711, "beamline-7", "0.2", "/data", 0.0))
    with pytest.raises(StorageError, match=r"another machine.*ssh -L 8000:127.0.0.1:8000 beamline-7"):
        TiledStore(tmp_path)
    lock.release()


def test_a_file_system_without_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StorageError, match=r"gives no locks \(No locks available\).*local disk"):
        TiledStore(tmp_path)


def test_a_read_only_directory(tmp_path: Path) -> None:
    with (
        mounted(tmp_path, "ro,size=64k"),
        pytest.raises(StorageError, match=r"can't be written \(Read-only file system\), and holds no runs"),
    ):
        TiledStore(tmp_path)


def test_a_question_mark_in_the_path(tmp_path: Path) -> None:
    """DuckDB would fail at the first write, in mid-scan."""
    with pytest.raises(StorageError, match="question mark.*rename"):
        TiledStore(tmp_path / "why?")


def test_the_place_of_a_directory_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StorageError, match="can't be written"):
        TiledStore(tmp_path / "data")


@pytest.mark.parametrize("text", ["soon", "-1", "nan", "inf"])
def test_an_idle_time_that_is_none(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECKLE_SERVER_IDLE", text)
    with pytest.raises(ValueError, match="give the seconds"):
        idle_setting()


def test_a_server_that_does_not_start_says_why(tmp_path: Path) -> None:
    (tmp_path / "tiled").mkdir()
    (tmp_path / "tiled" / "catalog.db").write_text("this is no database\n" * 100)
    with pytest.raises(StorageError, match="did not start on .*not a database"):
        TiledStore(tmp_path)
    assert wait_until_ended(tmp_path, ENDS_WITHIN) and not is_used(tmp_path)


def test_a_forked_copy_has_no_lease(tmp_path: Path) -> None:
    """It would keep the server alive, and what it closes belongs to the original."""
    (tmp_path / "tiled").mkdir()
    lease = Lease(tmp_path / "tiled" / "users")
    ready, done = os.pipe(), os.pipe()
    child = os.fork()
    if not child:
        os.write(ready[1], b".")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    assert is_used(tmp_path)
    lease.release()
    assert not is_used(tmp_path)
    os.write(done[1], b".")
    os.waitpid(child, 0)
    for end in (*ready, *done):
        os.close(end)


def test_who_waits_for_a_start_gives_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "START_TIMEOUT", 0.2)
    (tmp_path / "tiled").mkdir()
    with (tmp_path / "tiled" / "starting").open("a+b") as starting:
        fcntl.flock(starting.fileno(), fcntl.LOCK_EX)
        with pytest.raises(StorageError, match="another process starts a server"):
            join(tmp_path)
    assert not is_used(tmp_path)
