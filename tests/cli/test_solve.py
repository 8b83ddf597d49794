"""`speckle solve` on files: the disks come out as they went in, in every form that it writes."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import numpy as np
import pytest
from bluesky import RunEngine

from simulated_devices import DiskSystem, draw_system, intensity, quadrant
from speckle_plugin.live import SecondOpinion
from speckle_plugin.store import TiledStore
from speckle_plugin.structure.matching import largest_difference
from tests.testing.commands import Refused, Speckle
from tests.testing.stored_runs import measure

GRID = quadrant(65)


@pytest.fixture(scope="module")
def systems() -> list[DiskSystem]:
    return [draw_system("poly", n, np.random.default_rng(n)) for n in (2, 5)]


@pytest.fixture
def file(systems: list[DiskSystem], tmp_path: Path) -> Path:
    """Three frames: two that show disks, and noise."""
    noise = np.random.default_rng(0).random(GRID.shape)
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as made:
        made["frames"] = np.array([*(intensity(system, GRID) for system in systems), noise], np.float32)
        made["disk_number"] = [2, 5, 7]
        made.attrs.update(beam_center=GRID.beam_center, pitch=GRID.pitch)
    return path


def test_disks_come_out_as_they_went_in(
    speckle: Speckle, file: Path, systems: list[DiskSystem], tmp_path: Path
) -> None:
    table, disks, pictures = (tmp_path / name for name in ("results.csv", "disks.h5", "pictures"))
    result = speckle(
        "solve", file, "--workers", "1", "--budget", "3",
        "--out", table, "--disks", disks, "--pictures", pictures,
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "3 frames: 2 solved" in result.stdout
    assert "of 2 certified disk numbers 2 are right" in result.stdout
    with table.open(newline="") as opened:
        rows = list(csv.DictReader(opened))
    assert list(rows[0]) == ["frame_index", "disk_number", "certificate", "residual", "seconds"]
    assert [row["frame_index"] for row in rows] == ["0", "1", "2"]
    assert [row["certificate"] for row in rows[:2]] == ["solved", "solved"]
    assert rows[2]["certificate"] in ("undecided", "not_explained")
    with h5py.File(disks) as opened:
        assert list(opened["disks"].attrs["columns"][:3]) == ["x", "y", "r"]
        for index, system in enumerate(systems):
            found = opened["disks"][index, : opened["disk_number"][index], :3]
            truth = np.column_stack([system.positions, system.radii])
            assert largest_difference(found, truth) < 0.01
        assert np.isnan(opened["disks"][0, 2:]).all()
        assert opened["certificate"].asstr()[0] == "solved"
    assert sorted(path.name for path in pictures.iterdir()) == [f"frame-{i}.png" for i in range(3)]


def test_chosen_frames_into_json(
    speckle: Speckle, file: Path, systems: list[DiskSystem], tmp_path: Path
) -> None:
    disks = tmp_path / "disks.json"
    result = speckle("solve", file, "--frames", "1", "--disks", disks, "--workers", "1")
    assert result.exit_code == 0, result.output
    (frame,) = json.loads(disks.read_text())
    assert frame["frame_index"] == 1 and frame["disk_number"] == len(frame["disks"]) == 5
    assert frame["z_score"] is None  # no noise is known
    radii = sorted(disk["r"] for disk in frame["disks"])
    np.testing.assert_allclose(radii, np.sort(systems[1].radii), atol=0.01)


def test_what_cannot_be_solved_is_refused(refused: Refused, file: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.npz"
    np.savez(bare, frames=np.zeros((1, 65, 65), np.float32))
    refused("solve", str(bare), why="does not say its wave number per pixel")
    refused("solve", str(bare), "--k-step", "0.001", why="does not say where the beam is")
    refused("solve", str(file), "--frames", "9", why="3 frames")
    refused("solve", str(file), "--disks", "disks.csv", why="its name must end with")
    refused("solve", str(file), "--budget", "-1", why="budget")
    refused("solve", str(file), "--k-step", "0", why="--k-step must be a positive wave number per pixel")
    refused("solve", str(file), "--beam-center", "200,3", why="lies off the frame")
    refused("solve", "nothing.h5", why="nothing.h5")


def test_what_a_scan_left_is_solved(
    speckle: Speckle, refused: Refused, run_engine: RunEngine, data_directory: Path, tmp_path: Path
) -> None:
    table, disks, pictures = (tmp_path / name for name in ("results.csv", "disks.h5", "pictures"))
    data = ("--data", data_directory, "--workers", "1")
    with TiledStore(data_directory) as store:  # as while a session is open
        uid = measure(run_engine, store, 3, second_opinion=SecondOpinion("all", workers=1, wait=0.0))
        scan_id = store.runs[uid].start["scan_id"]
        result = speckle("solve", *data, "--out", table, "--disks", disks, "--pictures", pictures)
        assert result.exit_code == 0, result.output
        assert "3 frames: 3 solved" in result.stdout and "structure_2" in result.stdout
        with table.open(newline="") as opened:
            rows = list(csv.DictReader(opened))
        assert [(row["run_uid"], row["frame_index"]) for row in rows] == [(uid, str(i)) for i in range(3)]
        with h5py.File(disks) as opened:
            assert opened["disk_number"][:].tolist() == [int(row["disk_number"]) for row in rows]
        assert len(list(pictures.iterdir())) == 3

        nothing = speckle("solve", *data)
        assert nothing.exit_code == 0 and "nothing to do" in nothing.stderr
        other = speckle("solve", scan_id, *data, "--smallest-radius", "5")
        assert other.exit_code == 1 and "other settings" in other.stderr
        found = speckle("query", "--data", data_directory, "--frames", "--disagrees")
        truth = [int(row["disk_number"]) for row in rows]
        assert found.stdout.count(uid[:8]) == sum(number != 7 for number in truth)
        found = speckle("query", "--data", data_directory, "--frames", "--agrees")
        assert found.stdout.count(uid[:8]) == sum(number == 7 for number in truth) == 1
    refused("solve", "999", "--data", str(data_directory), why="no stored run has the scan id 999")
    refused("solve", "--all", "--data", str(data_directory), why="--all needs the runs")
    refused("solve", str(scan_id), "--frames", "0", why="--which")
