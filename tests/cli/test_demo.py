"""`speckle demo`, then `speckle query` and `speckle replay` on what it stored."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from speckle_plugin.cli import app
from speckle_plugin.store import TiledStore, find_frames, find_runs


def _speckle(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """Give the data directory and the output; the directory stays open, as in a session, for the commands."""
    data = tmp_path_factory.mktemp("demo") / "data"
    # In a process of its own, with the server's idle time that a user has.
    code = "from speckle_plugin.cli import app; app()"
    command = [sys.executable, "-c", code, "demo", "--data", str(data), "--points", "3", "--seed", "3"]
    environment = os.environ | {"SPECKLE_SERVER_IDLE": ""}
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    with TiledStore(data):
        yield data, done.stdout


def test_the_demo_tells_what_it_measured(demo: tuple[Path, str]) -> None:
    data, output = demo
    assert "frames: 9 (9 classified, 0 flagged, 0 deferred)" in output
    assert "accuracy 100.0%" in output
    for words in (
        "frame to label: median",
        "frame to stored: median",
        "ipython --profile-dir",
        "speckle query",
    ):
        assert words in output
    assert "12 of 12 disks, solved" in output
    for picture in ("demo.png", "sample.png"):
        assert (data / picture).read_bytes().startswith(b"\x89PNG")


def test_query_finds_the_run(demo: tuple[Path, str]) -> None:
    result = _speckle("query", "--data", str(demo[0]))
    assert result.exit_code == 0, result.stdout + result.stderr
    assert "classify_grid_scan" in result.stdout + result.stderr


def test_query_writes_a_row_per_frame(demo: tuple[Path, str], tmp_path: Path) -> None:
    out = tmp_path / "frames.csv"
    result = _speckle("query", "--data", str(demo[0]), "--frames", "--out", str(out))
    assert result.exit_code == 0, result.stdout + result.stderr
    with out.open() as file:
        rows = list(csv.DictReader(file))
    assert [row["frame_index"] for row in rows] == [str(i) for i in range(9)]
    assert all(row["disk_number"] == row["truth_disk_number"] for row in rows)


def test_query_writes_files_for_other_programs(demo: tuple[Path, str], tmp_path: Path) -> None:
    frames, runs = tmp_path / "frames.h5", tmp_path / "runs.parquet"
    result = _speckle("query", "--data", str(demo[0]), "--frames", "--out", str(frames))
    assert result.exit_code == 0 and "9 rows" in result.stdout + result.stderr
    with h5py.File(frames) as file:
        shown = file[f"{file.attrs['default']}/{file['entry'].attrs['default']}"]
        assert shown[shown.attrs["signal"]].shape == (9, 257, 257)
        assert (shown["disk_number"][:] == shown["truth_disk_number"][:]).all()
    result = _speckle("query", "--data", str(demo[0]), "--out", str(runs))
    assert result.exit_code == 0, result.stdout + result.stderr
    assert pd.read_parquet(runs)["frames"].tolist() == [9]
    result = _speckle("query", "--data", str(demo[0]), "--out", str(tmp_path / "runs.h5"))
    assert result.exit_code == 2 and "give --frames" in " ".join(result.stderr.split())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames.h5", "runs.parquet"]


def test_a_label_finds_the_run_if_a_frame_got_it(demo: tuple[Path, str]) -> None:
    """Once 5 and 6 found a run of 15 and 16."""
    with TiledStore(demo[0]) as store:
        run = store.runs[-1]
        labels = set(find_frames(run)["disk_number"])
        assert 2 <= len(labels) < 19
        assert labels == {n for n in range(2, 21) if run.start["uid"] in find_runs(store.runs, label=n)}
        for n in (0, 1):
            with pytest.raises(ValueError, match=f"no network gives the label {n}: there are 2, 3, 4,"):
                find_runs(store.runs, label=n)


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--max-confidence", "0.0001"], 0, "nothing stored matches"),
        (["--max-confidence", "80"], 2, "probability from 0 to 1"),
        (["--since", "yesterday"], 2, "must be a time such as"),
        (["--where", "family=mono", "--plan", "classify_grid_scan"], 0, "classify_grid_scan"),
        (["--where", "family=poly"], 0, "nothing stored matches"),
        (["--label", "0"], 2, "no network gives the label 0: there are 2, 3, 4,"),
        (["--frames", "--label", "21"], 2, "no network gives the label 21: there are 2, 3, 4,"),
        (["--possible", "0"], 2, "no network gives the label 0: there are 2, 3, 4,"),
        (["--possible", "seven"], 2, "Invalid value for '--possible'"),
        (["--flag", "saturated"], 0, "nothing stored matches"),
        (["--flag", "bright"], 2, "there is no flag 'bright': there are wrong_shape,"),
        (["--plan", "count"], 0, "nothing stored matches"),
        (["--until", "2026-11-01"], 0, "nothing stored matches"),
        (["--where", "family"], 2, "KEY=VALUE"),
    ],
)
def test_query_by_what_is_given_and_of_nonsense(
    demo: tuple[Path, str], arguments: list[str], code: int, words: str
) -> None:
    result = _speckle("query", "--data", str(demo[0]), *arguments)
    assert result.exit_code == code, result.stdout + result.stderr
    assert words in " ".join((result.stdout + result.stderr).split())


def test_query_by_what_is_possible(demo: tuple[Path, str], tmp_path: Path) -> None:
    with TiledStore(demo[0]) as store:
        rows = find_frames(store.runs)
    assert (rows["possible"] != "").all()
    label = int(rows["disk_number"].iloc[0])
    wanted = [str(label) in text.split(",") for text in rows["possible"]]
    out = tmp_path / "possible.csv"
    result = _speckle("query", "--data", demo[0], "--frames", "--possible", label, "--out", out)
    assert result.exit_code == 0, result.stdout + result.stderr
    assert pd.read_csv(out)["frame_index"].tolist() == rows["frame_index"][wanted].tolist()
    assert "classify_grid_scan" in _speckle("query", "--data", demo[0], "--possible", label).stdout


def test_query_of_a_folder_without_data(tmp_path: Path) -> None:
    result = _speckle("query", "--data", str(tmp_path))
    assert result.exit_code == 2 and "is no data directory" in " ".join(result.stderr.split())


def test_replay_without_journals(demo: tuple[Path, str]) -> None:
    result = _speckle("replay", "--data", str(demo[0]))
    assert result.exit_code == 0 and "every run is whole" in result.stdout + result.stderr
