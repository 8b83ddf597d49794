"""The command around the retraining; the retraining itself is tested in tests/training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import training.retrain
import training.stored_frames
from speckle_plugin.cli import retrain as command
from speckle_plugin.cli.run_selection import RunSelection
from speckle_plugin.network import Bundle, load_bundle
from speckle_plugin.store import TiledStore
from tests.testing.commands import Refused, Speckle


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give --out FOLDER"),
        (("--out", "child", "--store", "nowhere"), "nowhere is no data directory"),
        (
            ("--out", "child", "--store", "http://127.0.0.1:9"),
            "no Tiled server answers at http://127.0.0.1:9",
        ),
        (("--out", "child", "--parent", "nobody"), "no bundle at nobody"),
        (("--out", "child", "--where", "family"), "--where 'family' can't be read: give KEY=VALUE"),
        (("--out", "child", "--where", "=poly"), "can't be read: give KEY=VALUE"),
        (("--out", "child", "--learning-rate", "nan"), "must be a positive number, not nan"),
        (("--out", "child", "--labels", "none.csv"), "none.csv"),
        (("--out", "child", "--mask", "none.npy"), "no file none.npy"),
    ],
)
def test_bad_input(refused: Refused, arguments: tuple[str, ...], message: str) -> None:
    refused("retrain", *arguments, why=message)
    assert not Path("child").exists()


def test_bad_queries_of_a_store(
    speckle: Speckle, data_directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("labels.csv").write_text("run,frame,label\n")
    cases = {
        "the query finds no runs": ["--label", "7"],
        "the query finds no runs: widen it": ["--where", "family=poly"],
        "must be a time such as": ["--since", "yesterday"],
        "labels.csv lacks the columns run_uid, frame_index, disk_number": ["--labels", "labels.csv"],
    }
    with TiledStore(data_directory):  # whose server the commands join
        for message, arguments in cases.items():
            result = speckle("retrain", "--out", "child", "--store", data_directory, *arguments)
            assert result.exit_code == 2 and message in result.stderr, result.stderr
    assert not Path("child").exists()


def test_the_structure_solution_is_the_teacher(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def open_store(store: str) -> Iterator[Any]:
        yield SimpleNamespace(runs=["a"])

    def labelled(runs: Any, mask: Any, known: Any) -> Any:
        return runs, mask, known

    def retrain(parent: Bundle, frames: Any, folder: Path, **settings: Any) -> Bundle:
        assert frames == (["a"], None, parent.classes)
        assert settings["selection"]["labels"] == "certified structures"
        return replace(parent, name="taught", metrics={})

    monkeypatch.setattr(command, "_open_store", open_store)
    monkeypatch.setattr(RunSelection, "find", lambda _, runs: runs)
    monkeypatch.setattr(training.stored_frames, "frames_of_structure", labelled)
    monkeypatch.setattr(training.retrain, "retrain", retrain)
    options = ["--labels", "structure", "--parent", small_bundle, "--out", tmp_path / "child"]
    result = speckle("retrain", *options)
    assert result.exit_code == 0 and "taught" in result.stdout, result.output


def test_it_retrains_on_what_the_query_finds_and_prints_parent_beside_child(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    @contextlib.contextmanager
    def open_store(store: str) -> Iterator[Any]:
        asked.append(store)
        yield SimpleNamespace(runs=["a", "b"])

    def find(selection: RunSelection, runs: Any) -> Any:
        asked.append(tuple(selection))
        return runs[:1]

    def labelled(runs: Any, path: Path, mask: Any) -> Any:
        asked.append((runs, path, mask))
        return "frames"

    def retrain(parent: Bundle, frames: Any, folder: Path, **settings: Any) -> Bundle:
        asked.append((parent.name, frames, folder, settings["seed"], settings["selection"]))
        settings["say"]("held out: 3 frames")
        settings["report"]("train", 1, 2, {"loss": 0.5})
        old = {"frames": 3, "accuracy": 0.25, "within_one": 0.5, "mean_confidence": 0.75}
        metrics = {"held_out": {**old, "accuracy": 0.875}, "parent_held_out": old}
        return replace(parent, name="child", metrics=metrics)

    monkeypatch.setattr(command, "_open_store", open_store)
    monkeypatch.setattr(RunSelection, "find", find)
    monkeypatch.setattr(training.stored_frames, "frames_of_labels", labelled)
    monkeypatch.setattr(training.retrain, "retrain", retrain)
    labels = tmp_path / "labels.csv"
    labels.write_text("")
    options = [
        "--label",
        7,
        "--flag",
        "saturated",
        "--where",
        "family=poly",
        "--where",
        "scan_id=3",
        "--labels",
        labels,
        "--seed",
        4,
    ]
    store = "http://host/api/v1?api_key=secret"
    result = speckle("retrain", "--parent", small_bundle, "--store", store, "--out", "out", *options)
    assert result.exit_code == 0, result.output
    query, metadata = {"label": 7, "flag": "saturated"}, {"family": "poly", "scan_id": 3}
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    selection = {
        "store": "http://host/api/v1",
        "query": query,
        "metadata": metadata,
        "labels": {"file": str(labels), "sha256": empty},
    }
    assert asked == [
        store,
        (query, metadata),
        (["a"], labels, None),
        ("small", "frames", Path("out"), 4, selection),
    ]
    assert "held out: 3 frames" in result.stderr
    (row,) = [line for line in result.stdout.splitlines() if "held out: accuracy" in line]
    assert row.split()[-3:] == ["3", "0.2500", "0.8750"]
    assert "simulated" not in result.stdout
    assert f"parent small 0 ({load_bundle(small_bundle).sha256[:12]})" in result.stdout
