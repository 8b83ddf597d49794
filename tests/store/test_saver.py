"""Saving runs: visible while they grow, and never lost, whatever fails."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speckle_plugin.store import RunSaver, StorageError, TiledStore, replay
from speckle_plugin.store.write.journal import read_journal
from speckle_plugin.store.write.keeper import JournalKeeper
from tests.testing import documents_of, good


def test_visible_while_it_grows(store: TiledStore, measure: Callable[..., str]) -> None:
    seen = []

    def look(saver: RunSaver, name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            saver.flush()
            run = store.runs.values().last()
            image = run["primary/det_image"]
            results = run["classification/internal"].read()
            truth = run["primary/internal"].read(["det_truth_disk_number"])
            seen.append((image.shape[0], float(image[-1].mean()), len(results), len(truth)))
            assert "stop" not in run.metadata
            assert len(list(store.journal_directory.glob("*.jsonl"))) == 1

    uid = measure(store, [good(7), good(3, 0.5)], after=look)
    assert seen == [(1, 0, 1, 1), (2, 1, 2, 2), (3, 2, 3, 3)]
    run = store.runs[uid]
    assert run.stop["num_events"] == {"primary": 3, "classification": 3}
    assert list(store.journal_directory.glob("*.jsonl")) == []
    probabilities = run["classification/probabilities"]
    assert probabilities.shape == (3, 19)
    assert probabilities.dtype == np.float32
    # The first position is the integer 0: the column is one of numbers nevertheless.
    assert list(run["primary/internal"].read()["stage_x"]) == [0.0, 0.5, 1.0]


@pytest.mark.parametrize("frames_per_trigger", [1, 2])
def test_a_stored_run_is_whole(
    store: TiledStore, measure: Callable[..., str], frames_per_trigger: int, recwarn: pytest.WarningsRecorder
) -> None:
    uid = measure(store, frames_per_trigger=frames_per_trigger)
    run = store.runs[uid]
    assert run.validate(raise_on_error=True)
    assert "notes" not in run.metadata or not any("Fixed" in note for note in run.metadata["notes"])
    names = [name for name, _ in run.documents()]
    assert names[0] == "start"
    assert names[-1] == "stop"
    assert names.count("event") == 3 + 3 * frames_per_trigger
    images = run.primary.read()["det_image"].to_numpy()
    assert images.reshape(-1, *images.shape[-2:])[:, 0, 0].tolist() == list(range(3 * frames_per_trigger))


def test_each_file_is_registered_once(
    store: TiledStore, measure: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from speckle_plugin.store.server.upstream.batched_run_writer import BatchedRunWriter

    sent: list[int] = []
    update = BatchedRunWriter._update_data_source_for_node

    def spy(self: Any, node: Any, data_source: Any, patch: Any = None) -> None:
        sent.append(len(data_source.assets))
        update(self, node, data_source, patch)

    monkeypatch.setattr(BatchedRunWriter, "_update_data_source_for_node", spy)
    flush_each = lambda saver, name, doc: saver.flush() if name == "event" else None  # noqa: E731
    uid = measure(store, positions=range(5), after=flush_each)
    assert sent == [1, 1, 1, 1, 1]
    (source,) = store.runs[uid]["primary/det_image"].data_sources()
    assert len(source.assets) == 5


def test_runs_open_at_once_do_not_mix(store: TiledStore) -> None:
    saver = RunSaver(store.runs, store.journal_directory)
    runs = [documents_of(str(uuid.uuid4()), [1, 2]) for _ in range(2)]
    for pair in zip(*runs, strict=True):
        for name, doc in pair:
            saver(name, doc)
    for documents in runs:
        table = store.runs[documents[0][1]["uid"]]["primary/internal"].read()
        assert list(table["x"]) == [0.0, 1.0]
    assert saver.failures == {}


def test_server_that_dies_in_mid_run(
    data_directory: Path, measure: Callable[..., str], caplog: pytest.LogCaptureFixture
) -> None:
    store = TiledStore(data_directory)
    savers: list[RunSaver] = []

    def die(saver: RunSaver, name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            savers.append(saver)
            if doc["seq_num"] == 2:
                store.close()
            saver.flush()

    uid = measure(store, positions=range(4), after=die)  # the scan goes on to its end
    assert set(savers[0].failures) == {uid}
    assert "replay" in savers[0].failures[uid]
    assert len([r for r in caplog.records if r.name == "speckle_plugin.store.write.saver"]) == 1
    journal = data_directory / "journal" / f"{uid}.jsonl"
    assert [name for name, _ in read_journal(journal)].count("event") == 8

    with TiledStore(data_directory) as store:
        assert "stop" not in store.runs[uid].metadata
        assert replay(store.journal_directory, store.runs) == {uid: "replayed"}
        run = store.runs[uid]
        assert run.stop["exit_status"] == "success"
        assert run["primary/det_image"][:, 0, 0].tolist() == [0, 1, 2, 3]
        assert len(run["classification/internal"].read()) == 4
        assert run["classification/probabilities"].shape == (4, 19)
    assert not journal.exists()


class BrokenWriter:
    """Tiled that takes some documents and then fails."""

    def __init__(self, takes: int) -> None:
        self.takes = takes

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        self.takes -= 1
        if self.takes < 0:
            raise ConnectionError("gone")

    def flush(self) -> None:
        if self.takes <= 0:
            raise ConnectionError("gone")


def saver_with(writer: BrokenWriter, directory: Path, monkeypatch: pytest.MonkeyPatch) -> RunSaver:
    saver = RunSaver(None, directory)
    monkeypatch.setattr(saver, "_new_writer", lambda: writer)
    return saver


def test_flush_that_fails_keeps_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = saver_with(BrokenWriter(2), tmp_path, monkeypatch)
    documents = documents_of("run-1", [1, 2, 3])
    for name, doc in documents[:2]:
        saver(name, doc)
    saver.flush()
    assert "run-1" in saver.failures
    for name, doc in documents[2:]:
        saver(name, doc)
    assert read_journal(tmp_path / "run-1.jsonl") == documents


def test_neither_journal_nor_tiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "journal").write_text("a file where the directory should be")
    saver = saver_with(BrokenWriter(2), tmp_path / "journal", monkeypatch)
    documents = documents_of("run-1", [1, 2, 3])
    for name, doc in documents[:2]:
        saver(name, doc)
    with pytest.raises(StorageError, match="neither in Tiled nor in"):
        saver(*documents[2])
    saver.flush()  # once told is enough; but each document that is lost is told of
    with pytest.raises(StorageError, match="neither in Tiled nor in"):
        saver(*documents[3])


def test_tiled_alone_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "journal").write_text("a file where the directory should be")
    saver = saver_with(BrokenWriter(100), tmp_path / "journal", monkeypatch)
    for name, doc in documents_of("run-1", [1, 2, 3]):
        saver(name, doc)
    assert [record.levelno for record in caplog.records] == [logging.ERROR]
    assert saver.failures == {}


def test_numpy_values_in_the_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = saver_with(BrokenWriter(0), tmp_path, monkeypatch)
    values = {"f": np.float32(0.5), "i": np.int64(3), "b": np.True_, "a": np.arange(2), "n": np.nan}
    saver("start", {"uid": "run-1", "time": np.float64(1.0), "values": values})
    saver.close()
    ((_, doc),) = read_journal(tmp_path / "run-1.jsonl")
    assert json.dumps(doc["values"]) == '{"f": 0.5, "i": 3, "b": true, "a": [0, 1], "n": NaN}'


def test_documents_of_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = saver_with(BrokenWriter(9), tmp_path, monkeypatch)
    with pytest.raises(StorageError, match="belongs to no open run"):
        saver(*documents_of("run-1", [1])[2])


def test_a_run_that_is_started_twice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = saver_with(BrokenWriter(9), tmp_path, monkeypatch)
    saver(*documents_of("run-1", [1])[0])
    with pytest.raises(StorageError, match="started twice"):
        saver(*documents_of("run-1", [1])[0])
    saver.close()


def test_recorded_before_it_is_saved(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saver = saver_with(BrokenWriter(100), tmp_path, monkeypatch)
    documents = documents_of("run-1", [1, 2, 3])
    for name, doc in documents:
        saver.record(name, doc)
    journal = tmp_path / "run-1.jsonl"
    assert [name for name, _ in read_journal(journal)] == [name for name, _ in documents]
    for name, doc in documents[:-1]:
        saver(name, doc)
    assert [name for name, _ in read_journal(journal)] == [name for name, _ in documents], "written twice"
    saver(*documents[-1])
    assert not journal.exists()


def test_rows_are_not_doubled_when_an_answer_is_lost(
    store: TiledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may have arrived: the run stays in its journal, from which it is written anew."""
    import httpx
    from tiled.client.dataframe import DataFrameClient

    appended: list[int] = []
    append = DataFrameClient.append_partition

    def lose_the_answer(self: Any, *arguments: Any, **options: Any) -> None:
        append(self, *arguments, **options)
        appended.append(1)
        if len(appended) == 1:
            raise httpx.ReadTimeout("timed out")

    monkeypatch.setattr(DataFrameClient, "append_partition", lose_the_answer)
    saver, uid = RunSaver(store.runs, store.journal_directory), str(uuid.uuid4())
    monkeypatch.setattr(saver.outage, "_answers", lambda: True)
    for name, doc in documents_of(uid, [1, 2, 3], store.frames_directory):
        saver(name, doc)
    assert len(appended) == 1
    assert "ReadTimeout" in saver.failures[uid]
    assert replay(store.journal_directory, store.runs) == {uid: "replayed"}
    assert store.runs[uid]["primary/internal"].read()["seq_num"].tolist() == [1, 2, 3]


def test_an_outage_is_over_when_a_journal_was_replayed(store: TiledStore) -> None:
    """The next run goes to Tiled, though it is not yet time to look again."""
    import httpx

    saver = RunSaver(store.runs, store.journal_directory)
    keeper = JournalKeeper(saver, store.runs, store.journal_directory)
    saver.outage.note(httpx.ConnectError("refused"))
    uids = [str(uuid.uuid4()) for _ in range(3)]
    for uid in uids[:2]:
        for name, doc in documents_of(uid, [1, 2], store.frames_directory):
            saver(name, doc)
    assert saver.failures.keys() == set(uids[:2]), "it is not asked for each run"
    keeper.look(at_rest=0.0)
    for name, doc in documents_of(uids[2], [1, 2], store.frames_directory):
        saver(name, doc)
    assert not saver.failures and set(uids) <= set(store.runs)
    keeper.close()


def test_a_run_that_is_lost_does_not_cost_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flush goes on with the next run, and tells once of the one that is lost."""

    class Writer:
        def __init__(self) -> None:
            self.flushed = 0

        def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
            if doc.get("uid") == "d-lost":
                raise ValueError("not in Tiled")

        def flush(self) -> None:
            self.flushed += 1

    writers: list[Writer] = []
    saver = RunSaver(None, tmp_path)

    def new_writer() -> Writer:
        writers.append(Writer())
        return writers[-1]

    monkeypatch.setattr(saver, "_new_writer", new_writer)
    (tmp_path / "lost.jsonl").touch()  # so that this run has no journal
    lost, kept = documents_of("lost", [1]), documents_of("kept", [1])
    saver(*lost[0])
    saver(*kept[0])
    with pytest.raises(StorageError, match="neither in Tiled"):
        saver(*lost[1])
    saver.flush()
    assert [writer.flushed for writer in writers] == [0, 1]
    with pytest.raises(StorageError):
        saver(*lost[-1])
    for name, doc in kept[1:]:
        saver(name, doc)
    saver.flush()
    saver.close()
    assert list(saver.failures) == ["lost"]
