"""The structure solution as teacher: certified numbers are labels, and no ground truth is needed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from bluesky import RunEngine

from speckle_plugin.live import SecondOpinion
from speckle_plugin.network import load_bundle
from speckle_plugin.reprocess.solve import solve_run
from speckle_plugin.solving import SolverPool
from speckle_plugin.store import TiledStore, find_frames
from tests.testing.stored_runs import CLASSES, measure, small_parent
from training.evaluation.measure import evaluate
from training.recipe import FrameRecipe
from training.stored_frames import frames_of_structure, frames_of_truth

SOLVED = SecondOpinion("all", workers=1, wait=120.0)


def test_certified_numbers_are_labels(run_engine: RunEngine, store: TiledStore) -> None:
    uid = measure(run_engine, store, 3, second_opinion=SOLVED, truth=False)
    bare = measure(run_engine, store, 2, truth=False)
    runs = store.runs
    with pytest.raises(ValueError, match="none of them with a recorded disk number"):
        frames_of_truth(runs)
    labelled = frames_of_structure(runs)
    assert sorted(frame.disk_number for frame in labelled.frames) == list(CLASSES)
    assert labelled.run_uids == (uid,)
    assert (labelled.left_out, labelled.why_left_out) == (2, "2 of no opinion")
    # What the parent does not know, it cannot be taught.
    known = frames_of_structure(runs, known=(2, 7))
    assert known.why_left_out == "2 of no opinion, 1 of unknown disk numbers"
    assert find_frames(store.runs[bare])["truth_disk_number"].isna().all()


def test_without_a_certificate_there_is_nothing_to_learn(run_engine: RunEngine, data_directory: Path) -> None:
    with TiledStore(data_directory) as store:
        measure(run_engine, store, 2, truth=False)
        with pytest.raises(ValueError, match=r"none of the 2 frames .* \(2 of no opinion\)"):
            frames_of_structure(store.runs)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_child_is_taught_from_the_command_line(run_engine: RunEngine, tmp_path: Path) -> None:
    """Two updates of the weights, on small frames."""
    data, out = tmp_path / "data", tmp_path / "child"
    small_parent(tmp_path / "small.bundle")
    with TiledStore(data) as store, SolverPool(1) as pool:
        for seed in (1, 2):
            uid = measure(run_engine, store, 6, seed=seed, truth=False, sample_id="A7")
            solve_run(store.runs[uid], pool)
        measure(run_engine, store, 2, seed=3, truth=False, sample_id="A7")
    options = ["--where", "sample_id=A7", "--steps", 2, "--batch", 4, "--test-per-class", 1, "--out", out]
    parent = ["--parent", tmp_path / "small.bundle", "--store", data]
    told = _speckle("retrain", "--labels", "structure", *parent, *options)
    assert "2 frames of the runs are left out: 2 of no opinion" in told
    child = load_bundle(out / "small-retrained.bundle")
    assert child.training["origin"]["selection"]["labels"] == "certified structures"
    (held_out,) = child.training["origin"]["stored"]["held_out"]
    assert held_out["disk_number"] == [2, 2, 7, 7, 20, 20]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_network_of_equal_disks_learns_unequal_ones(run_engine: RunEngine, tmp_path: Path) -> None:
    """It has seen `mono` only; then come scans of a `poly` sample, without ground truth; `-s` shows it."""
    data, out, parent = tmp_path / "data", tmp_path / "child", tmp_path / "mono" / "mono.bundle"
    small = ["frames.size=65", "preprocessing.crop=65", "steps=600", "test_per_class=5"]
    _speckle("train", "mono", "--out", parent.parent, *(part for s in small for part in ("--set", s)))
    with TiledStore(data) as store, SolverPool(2) as pool:
        for seed in range(1, 9):
            uid = measure(run_engine, store, 95, seed=seed, truth=False, disk_numbers=range(2, 21))
            solve_run(store.runs[uid], pool)
    print(
        _speckle(
            "retrain", "--labels", "structure", "--parent", parent, "--store", data, "--steps", 300,
            "--out", out,
        )
    )  # fmt: skip
    child = load_bundle(out / "mono-retrained.bundle")
    fresh = FrameRecipe(families=("poly",), size=65)
    before, after = (evaluate(bundle, fresh, 20, seed=99) for bundle in (load_bundle(parent), child))
    print(f"poly, fresh frames: {before['accuracy']:.3f} before, {after['accuracy']:.3f} after")
    assert after["accuracy"] > before["accuracy"] + 0.05


def _speckle(*arguments: object) -> str:
    """Run a command in a process of its own (keras and pytest's capturing do not go together)."""
    command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=3000, check=False)
    assert done.returncode == 0, done.stderr
    return done.stderr + done.stdout
