"""Journals made whole runs again, after a kill and after damage."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tiled.client.utils import ClientError

from speckle_plugin.store import RunSaver, StorageError, TiledStore, find_frames, find_runs, replay
from speckle_plugin.store.write.journal import Journal, read_journal
from speckle_plugin.store.write.recovery import RECOVERED, recovered_stop
from tests.testing import FakeClassifier, documents_of, good

KILLED_SCAN = """
import os, signal, sys
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis
from speckle_plugin.store import RunSaver, TiledStore
from tests.testing import FakeClassifier, FileCamera, good

store = TiledStore(sys.argv[1])
saver = RunSaver(store.runs, store.journal_directory)
RE = RunEngine({})
RE.subscribe(FakeClassifier(saver, [good(7), good(3, 0.4)]))

def die(name, doc):
    if name == "event":
        if doc["seq_num"] == 4:  # its rows are not flushed
            os.kill(os.getpid(), signal.SIGKILL)
        saver.flush()

RE.subscribe(die)
RE(bp.list_scan([FileCamera("det", store.frames_directory)], SynAxis(name="x"), [0, 0.5, 1, 1.5, 2]))
"""


def test_a_killed_scan_is_recovered(data_directory: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", KILLED_SCAN, str(data_directory)]
    killed = subprocess.run(command, env=environment, timeout=120, check=False)
    assert killed.returncode == -signal.SIGKILL
    (journal,) = (data_directory / "journal").glob("*.jsonl")
    uid = journal.stem
    frames = sorted((data_directory / "frames").iterdir())
    with TiledStore(data_directory) as store:  # the lock died with the process
        assert len(store.runs[uid]["primary/internal"].read()) == 3
        assert replay(journal, store.runs) == {uid: "replayed"}
        run = store.runs[uid]
        assert run.stop["exit_status"] == "abort"
        assert run.stop["reason"] == RECOVERED
        assert run.stop["num_events"] == {"primary": 4, "classification": 4}
        assert list(run["primary/internal"].read()["x"]) == [0, 0.5, 1, 1.5]
        assert list(find_runs(store.runs, label=3, max_confidence=0.5)) == [uid]
        assert [frame[0, 0] for frame in find_frames(run, with_frames=True)["frame"]] == [0, 1, 2, 3]
        assert run.validate(raise_on_error=True)
    assert sorted((data_directory / "frames").iterdir()) == frames
    assert not journal.exists()


def write(directory: Path, documents: list[tuple[str, dict[str, Any]]]) -> Path:
    journal = Journal(directory, documents[0][1]["uid"])
    for name, doc in documents:
        journal.append(name, doc)
    journal.close()
    return journal.path


def test_what_becomes_of_journals(store: TiledStore, tmp_path: Path) -> None:
    complete, measured, damaged, whole, cut = (str(uuid.uuid4()) for _ in range(5))
    write(tmp_path, documents_of(complete, [1, 2]))
    open_saver = RunSaver(store.runs, tmp_path)
    open_saver(*documents_of(measured, [1])[0])
    write(tmp_path, [("descriptor", {"uid": damaged})])
    saver = RunSaver(store.runs, tmp_path / "elsewhere")
    for name, doc in documents_of(whole, [1]):
        saver(name, doc)
    write(tmp_path, documents_of(whole, [1])[:-1])
    path = write(tmp_path, documents_of(cut, [1, 2])[:-1])
    path.write_text(path.read_text()[:-20])

    outcome = replay(tmp_path, store.runs)
    assert outcome[damaged].startswith("failed: the journal")
    del outcome[damaged]
    assert outcome == {
        complete: "replayed",
        measured: "still being measured",
        whole: "was whole already",
        cut: "replayed",
    }
    assert {path.stem for path in tmp_path.glob("*.jsonl")} == {measured, damaged}
    assert store.runs[whole].stop["exit_status"] == "success"
    assert store.runs[cut].stop["num_events"] == {"primary": 1}
    open_saver.close()
    assert replay(tmp_path / f"{measured}.jsonl", store.runs) == {measured: "replayed"}
    with pytest.raises(StorageError, match="neither a journal"):
        replay(tmp_path / "nothing", store.runs)


def test_what_tiled_holds_beyond_the_journal_stays(
    store: TiledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk of the journal is full in mid-run, and then the process is killed."""
    uid = str(uuid.uuid4())
    append, appended = Journal.append, []

    def fill(self: Journal, name: str, doc: Any) -> None:
        appended.append(name)
        if appended.count("event") > 2:
            raise OSError(28, "No space left on device")
        append(self, name, doc)

    monkeypatch.setattr(Journal, "append", fill)
    saver = RunSaver(store.runs, tmp_path)
    for name, doc in documents_of(uid, [1, 2, 3, 4, 5], store.frames_directory)[:-1]:
        saver(name, doc)
    saver.close()
    assert len([name for name, _ in read_journal(tmp_path / f"{uid}.jsonl") if name == "event"]) == 2

    assert replay(tmp_path, store.runs) == {uid: "ended as stored"}
    run = store.runs[uid]
    assert run["primary/internal"].read()["seq_num"].tolist() == [1, 2, 3, 4, 5]
    assert run.stop["num_events"] == {"primary": 5}
    assert run.stop["reason"] == RECOVERED
    assert not list(tmp_path.glob("*.jsonl"))


def test_a_damaged_line_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, documents_of("run-1", [1, 2]))
    lines = path.read_text().splitlines()
    lines[2] = lines[2][:10]
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(StorageError, match="line 3 of the journal"):
        read_journal(path)


def result_descriptor(uid: str) -> tuple[str, dict[str, Any]]:
    model = {"model": "mono", "model_version": "2", "weights_sha256": "ab"}
    return (
        "descriptor",
        {
            "uid": f"c-{uid}",
            "run_start": uid,
            "time": 2.5,
            "name": "classification",
            "data_keys": {},
            "configuration": {"classifier": {"data": model}},
        },
    )


def result(uid: str, seq_num: int, outcome: tuple[str, int, float, str]) -> tuple[str, dict[str, Any]]:
    status, disk_number, confidence, flags = outcome
    data = {
        "image_key": "det_image",
        "status": status,
        "disk_number": disk_number,
        "confidence": confidence,
        "flags": flags,
    }
    return ("event", {"uid": "r", "descriptor": f"c-{uid}", "seq_num": seq_num, "time": 3.5, "data": data})


def test_summary_of_a_cut_off_run(tmp_path: Path) -> None:
    """Of four frames two have a label, one is flagged, and one has no result: the counts balance."""
    documents = documents_of("run-1", [1, 2, 3, 4], tmp_path)[:-1]
    documents.append(result_descriptor("run-1"))
    for seq_num, outcome in enumerate([good(7), ("flagged", 0, 0.0, "empty"), good(5, 0.6)], start=1):
        documents.append(result("run-1", seq_num, outcome))
    stop = recovered_stop(documents)
    assert stop["num_events"] == {"primary": 4, "classification": 3}
    assert stop["time"] == 6.0
    assert stop["classification"] == {
        "labels": [5, 7],
        "counts": {"5": 1, "7": 1},
        "flags": {"empty": 1},
        "min_confidence": 0.6,
        "model": "mono",
        "model_version": "2",
        "weights_sha256": "ab",
        "frames": 4,
        "classified": 2,
        "flagged": 1,
        "deferred": 1,
    }
    assert json.loads(json.dumps(stop)) == stop


def test_a_run_without_results_has_no_summary() -> None:
    stop = recovered_stop(documents_of("run-1", [1, 2, 2, 3])[:-1])
    assert stop["num_events"] == {"primary": 3}
    assert "classification" not in stop


def cut_off(
    store: TiledStore, directory: Path, monkeypatch: pytest.MonkeyPatch, dies: Callable[[int, Any], bool]
) -> str | None:
    """Save a run of two frames until a request, of which number and request are given, and check what
    is recovered; gives the last document that was measured, None if no request was the one."""
    uid, client = str(uuid.uuid4()), store.runs.context.http_client
    send, numbers, dead = client.send, itertools.count(), threading.Event()

    def send_until_dead(request: Any, **options: Any) -> Any:
        if dead.is_set() or dies(next(numbers), request):
            dead.set()
            raise SystemExit  # passes every `except Exception`, as a kill does
        return send(request, **options)

    documents: list[tuple[str, dict[str, Any]]] = []
    classifier = FakeClassifier(lambda name, doc: documents.append((name, doc)), [good(7)])
    for name, doc in documents_of(uid, [1, 2], store.frames_directory):
        classifier(name, doc)
    saver = RunSaver(store.runs, directory)
    with monkeypatch.context() as patch:
        patch.setattr(client, "send", send_until_dead)
        try:
            for name, doc in documents:
                saver(name, doc)
                if name == "event":
                    saver.flush()
        except SystemExit:
            with contextlib.suppress(SystemExit):
                saver.close()
        else:
            return None
    outcome = replay(directory, store.runs)
    assert outcome in ({uid: "replayed"}, {uid: "was whole already"})
    run = store.runs[uid]
    assert run.validate(raise_on_error=True)
    assert run.stop["exit_status"] == ("success" if name == "stop" else "abort")
    frames = [frame[0, 0] for frame in find_frames(run, with_frames=True)["frame"]]
    assert frames == list(range(run.stop["num_events"].get("classification", 0)))
    return name


def test_a_run_that_was_cut_off_between_an_array_and_its_table(
    store: TiledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def appends_results(_: int, request: Any) -> bool:
        return "classification/internal?partition" in str(request.url)

    assert cut_off(store, tmp_path, monkeypatch, appends_results) == "event"


@pytest.mark.parametrize("known", [True, False], ids=["while it wrote", "while it deleted"])
def test_files_that_a_killed_server_left_are_in_nobodys_way(
    store: TiledStore, tmp_path: Path, known: bool
) -> None:
    """A server that makes an array writes its files first; one that deletes a run deletes its files last."""
    uid = str(uuid.uuid4())
    documents: list[tuple[str, dict[str, Any]]] = []
    classifier = FakeClassifier(lambda name, doc: documents.append((name, doc)), [good(7)])
    for name, doc in documents_of(uid, [1, 2], store.frames_directory):
        classifier(name, doc)
    saver = RunSaver(store.runs, tmp_path / "elsewhere")
    for name, doc in documents:
        saver(name, doc)
    saver.close()
    files = store.frames_directory.parent / "tiled" / "data" / "runs" / uid
    assert list(files.rglob("zarr.json"))
    files.rename(tmp_path / "left")
    for array in (tmp_path / "left").rglob("zarr.json"):  # Tiled wants folders to delete
        (files / array.parent.relative_to(tmp_path / "left")).mkdir(parents=True)
    store.runs.delete_contents(uid, recursive=True, external_only=False)
    shutil.rmtree(files)
    (tmp_path / "left").rename(files)
    if known:
        store.runs.create_container(uid, metadata={"start": documents[0][1]})

    journal = write(tmp_path / "journal", documents)
    assert replay(journal, store.runs) == {uid: "replayed"}
    assert store.runs[uid]["classification"]["probabilities"].read().shape[0] == 2
    with pytest.raises(ClientError, match="409"):
        store.runs.create_container(uid)
    assert store.runs[uid].validate(raise_on_error=True)  # a run that is there keeps its files


@pytest.mark.slow
def test_a_run_that_was_cut_off_at_any_request(
    store: TiledStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reached = []
    for last in itertools.count():

        def is_last(number: int, _: Any, last: int = last) -> bool:
            return number == last

        reached.append(cut_off(store, tmp_path, monkeypatch, is_last))
        if reached[-1] is None:
            break
    assert set(reached) == {"start", "descriptor", "event", "stop", None}
    assert len(reached) > 15
