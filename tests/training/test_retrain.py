"""Retraining on stored frames: what is refused, how frames are mixed, and one whole retraining."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine

from simulated_devices import centered
from speckle_plugin.network import Bundle, load_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing
from speckle_plugin.store import TiledStore
from tests.testing.stored_runs import CLASSES, FRAMES, measure, small_parent
from training.recipe import stored_frame_recipe
from training.retrain import Mixture, retrain, set_aside
from training.retrain_checks import check_geometry, check_labels, leave_out_unfit
from training.stored_frames import LabelledFrame, LabelledFrames, frames_of_truth

PARENT = Bundle("small", "1", CLASSES, Preprocessing(crop=33), {}, pitch=0.001)
CORNER = FrameGeometry((65, 65))


def _run(uid: str, count: int = 6, geometry: FrameGeometry = CORNER, **more: Any) -> list[LabelledFrame]:
    return [LabelledFrame(uid, "det_image", i, CLASSES[i % 3], geometry, **more) for i in range(count)]


def _labelled(*runs: list[LabelledFrame]) -> LabelledFrames:
    """Give frames that are in memory: all pixels of frame i are i, but for one."""
    frames = tuple(itertools.chain(*runs))
    # No detector here states from which sample its frames are.
    streams = {"primary": SimpleNamespace(metadata={"data_keys": {}})}
    run: Any = SimpleNamespace(start={"uid": "a"}, metadata={}, base=streams)
    labelled = LabelledFrames({frame.run_uid: run for frame in frames}, frames)
    for i, frame in enumerate(frames):
        pixels = np.full(frame.geometry.shape, i, np.float32)
        pixels[20, 20] = 1000.0
        labelled._kept[i] = (pixels, frame.geometry)
    return labelled


@pytest.mark.parametrize(
    ("labelled", "message"),
    [
        (_labelled(_run("a", 2), _run("b", 1)), "3 labelled frames are too few .* at least 10"),
        (
            _labelled([replace(f, disk_number=n) for f, n in zip(_run("a", 12), [0, 21] * 6, strict=True)]),
            r"does not know: 0 \(6 frames\), 21 \(6 frames\)\. Its disk numbers are 2, 7, 20",
        ),
        (_labelled([replace(f, disk_number=7) for f in _run("a", 12)]), "all 12 labelled frames show 7"),
    ],
    ids=["three frames", "unknown labels", "one class"],
)
def test_labels_that_are_refused(labelled: LabelledFrames, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_labels(PARENT, labelled)


@pytest.mark.parametrize(
    ("runs", "simulated", "message"),
    [
        (
            [_run("a", geometry=FrameGeometry((30, 65)))],
            False,
            "can't use the frames of the run a: too little",
        ),
        (
            [
                _run("a"),
                _run("b", geometry=FrameGeometry((33, 40))),
                _run("c", geometry=FrameGeometry((32, 40))),
            ],
            False,
            "33 x 33 pixels of the runs a, b; 32 x 33 pixels of the run c. Choose",
        ),
        (
            [_run("a", geometry=FrameGeometry((32, 40)))],
            True,
            "32 x 33 pixels of the run a; simulated frames of the parent's recipe give 33 x 33 pixels",
        ),
        (
            [_run("a", k_step=0.001), _run("b", k_step=0.002)],
            True,
            "the frames have another: 0.002 of the run b",
        ),
    ],
    ids=["too small", "unlike sizes", "unlike the simulated", "another pitch"],
)
def test_frames_that_do_not_fit(runs: list[list[LabelledFrame]], simulated: bool, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_geometry(PARENT, _labelled(*runs), FRAMES if simulated else None)


def test_frames_that_fit_in_spite_of_their_size() -> None:
    runs = [_run("a"), _run("b", geometry=FrameGeometry((129, 80), (64.0, 40.0)), k_step=0.001)]
    check_geometry(PARENT, _labelled(*runs), FRAMES)


def test_frames_of_other_pitch_than_others_where_the_parent_states_none() -> None:
    labelled = _labelled(_run("a", k_step=0.001), _run("b", k_step=0.002))
    with pytest.raises(ValueError, match=r"other runs have a k step of 0\.001 .* 0\.002 of the run b"):
        check_geometry(replace(PARENT, pitch=None), labelled, None)


def test_unfit_frames_are_left_out() -> None:
    labelled = _labelled(_run("a"), _run("b", center_assumed=True))
    labelled._kept[1][0][20, 20] = np.nan
    labelled._kept[4][0][:] = 7.0
    labelled._kept[5][0][50, 50] = np.inf  # outside of what the network sees
    said: list[str] = []
    fit = leave_out_unfit(PARENT, _with_left_out(labelled, 3), None, said.append)
    assert [f.frame_index for f in fit.frames] == [0, 2, 3, 5, *range(6)]
    assert said == [
        "3 frames of the runs are left out: unfit, or without a label",
        "2 frames are left out: not finite, or all pixels alike",
        "the detector does not state where the beam is: pixel (0, 0) is taken for the run b",
    ]


def _with_left_out(labelled: LabelledFrames, count: int) -> LabelledFrames:
    made = replace(labelled, left_out=count)
    made._kept.update(labelled._kept)
    return made


@pytest.mark.parametrize(("share", "stored"), [(0.0, 40), (0.5, 20), (0.75, 10)])
def test_stored_and_simulated_frames_are_mixed_by_the_share(share: float, stored: int) -> None:
    labelled = _labelled(_run("a", 10))
    drawn = list(itertools.islice(Mixture(labelled, FRAMES, share, 1)(0), 40))
    numbers = [int(d.frame[0, 0]) for d in drawn if d.frame[20, 20] == 1000.0]
    assert len(numbers) == stored
    for start in range(0, stored, 10):  # each pass takes every frame once
        assert sorted(numbers[start : start + 10]) == list(range(10))
    if stored > 10:
        assert numbers[:10] != numbers[10:20]
    assert len({d.frame.tobytes() for d in drawn}) == 40 - stored + min(stored, 10)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.75])
def test_a_mixture_can_be_entered_anywhere(share: float) -> None:
    mixture = Mixture(_labelled(_run("a", 7)), FRAMES, share, 1)
    whole = list(itertools.islice(mixture(0), 40))
    for start in (1, 13, 30):
        entered = list(itertools.islice(mixture(start), 10))
        assert [d.frame.tobytes() for d in entered] == [d.frame.tobytes() for d in whole[start : start + 10]]


def test_the_frame_recipe_of_a_parent(tmp_path: Path) -> None:
    assert stored_frame_recipe(small_parent(tmp_path / "small.bundle")) == FRAMES
    assert stored_frame_recipe(PARENT) is None
    for recipe in ({"colour": 1}, {"disk_numbers": [2]}, {"size": 65, "families": ["cubes"]}):
        with pytest.raises(ValueError, match="frame recipe of the bundle 'small' can't be used"):
            stored_frame_recipe(replace(PARENT, training={"recipe": {"frames": recipe}}))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"simulated_share": 1.0}, r"from 0 to below 1, not 1\.0"),
        ({"steps": 0}, "at least 1, not 0"),
        ({"held_out_share": 0.0}, r"between 0 and 1, not 0\.0"),
        ({}, "after the split by run only one disk number, 2, is left"),
    ],
)
def test_arguments_that_are_refused(tmp_path: Path, arguments: dict[str, Any], message: str) -> None:
    labelled = _labelled([replace(f, disk_number=2) for f in _run("a", 12)], _run("b", 12))
    said: list[str] = []
    with pytest.raises(ValueError, match=message):
        # The run a is the parent's, so the only one left to train on.
        parent = replace(PARENT, training={"origin": {"trained_on": ["a"]}})
        retrain(parent, labelled, tmp_path / "out", say=said.append, **arguments)
    assert not (tmp_path / "out").exists()
    if not arguments:
        assert "does not say of which simulated frames it was made" in said[0]


def test_a_folder_of_other_frames_is_not_gone_on_with(tmp_path: Path) -> None:
    parent = replace(PARENT, sha256="abc")
    (tmp_path / "recipe.json").write_text("{}")
    (tmp_path / "state.json").write_text("{}")  # so there is a checkpoint
    with pytest.raises(ValueError, match="a training run of another recipe, parent or frames"):
        retrain(parent, _labelled(_run("a"), _run("b")), tmp_path)


def test_confidences_are_fitted_on_runs_of_their_own_if_there_are_enough() -> None:
    said: list[str] = []
    labelled = _labelled(*(_run(uid) for uid in "abcdefgh"))
    groups = [("a", "b"), *((uid,) for uid in "cdefgh")]
    for seed in range(5):
        training, calibration = set_aside(labelled, seed, groups, said.append)
        assert len(calibration) in (6, 12) and len(training) + len(calibration) == 48
        assert not set(training.run_uids) & set(calibration.run_uids)
        assert ("a" in training.run_uids) == ("b" in training.run_uids)
    assert said == []
    few = _labelled(*(_run(uid) for uid in "abc"))
    training, calibration = set_aside(few, 0, [("a",), ("b",), ("c",)], said.append)
    assert (len(training), len(calibration)) == (16, 2)
    assert len(said) == 1 and "since there are 3 to train on" in said[0]
    # Each number is in one run alone.
    runs = ([LabelledFrame(uid, "det_image", i, n, CORNER) for i in (0, 1)] for n, uid in enumerate("abcde"))
    said.clear()
    training, calibration = set_aside(_labelled(*runs), 0, [(uid,) for uid in "abcde"], said.append)
    assert (len(training), len(calibration)) == (9, 1)
    assert len(said) == 1
    assert re.search("without those set aside no frame to train on would have [0-4] disks", said[0])


def test_retraining_on_several_machines_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    workers = {"cluster": {"worker": ["localhost:1", "localhost:2"]}, "task": {"type": "worker", "index": 0}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(workers))
    with pytest.raises(ValueError, match="unset TF_CONFIG"):
        retrain(PARENT, _labelled(_run("a"), _run("b")), tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(900)  # a process that builds and traces a ResNet-50, with other work going on
def test_a_retraining_from_the_store(tmp_path: Path, run_engine: RunEngine) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    parent = small_parent(tmp_path / "small.bundle")
    with TiledStore(data) as store:
        runs = [measure(run_engine, store, 6, seed=i, family="poly") for i in range(2)]
        runs.append(measure(run_engine, store, 6, seed=2, family="poly", grid=centered(129)))
        measure(run_engine, store, 6, seed=3, family="other")
    options = ["--where", "family=poly", "--steps", 2, "--batch", 4, "--test-per-class", 4, "--seed", 5]
    done = _speckle("retrain", "--parent", tmp_path / "small.bundle", "--store", data, "--out", out, *options)
    assert done.returncode == 0, done.stderr
    child = load_bundle(out / "small-retrained.bundle")

    # The provenance says on which frames it was trained, and on which it was measured.
    origin = child.training["origin"]
    assert child.parent == origin["parent"]["sha256"] == parent.sha256
    assert origin["selection"]["metadata"] == {"family": "poly"}
    assert origin["selection"]["labels"] == "recorded truth"
    assert (origin["seed"], origin["simulated_share"], origin["split"]) == (5, 0.5, "by run")
    assert origin["frames"] == {"training": 11, "calibration": 1, "held_out": 6}
    (held_out,) = origin["stored"]["held_out"]
    assert held_out["frame_index"] == list(range(6)) and held_out["disk_number"] == [2, 2, 7, 7, 20, 20]
    trained_on = {place["run_uid"] for place in origin["stored"]["training"]}
    assert trained_on == set(runs) - {held_out["run_uid"]} == set(origin["trained_on"])
    frames = {
        (place["run_uid"], index)
        for part in ("training", "calibration")
        for place in origin["stored"][part]
        for index in place["frame_index"]
    }
    assert frames == {(uid, i) for uid in trained_on for i in range(6)}

    # Weights have moved; the recipe is the parent's, but for the steps and the rate.
    assert not np.array_equal(child.weights["logits/kernel"], parent.weights["logits/kernel"])
    recipe = child.training["recipe"]
    assert (recipe["steps"], recipe["batch"], recipe["learning_rate"]) == (2, 4, 5e-4)
    assert recipe["frames"]["size"] == 65 and child.training["frames_seen"] == 8
    assert child.feature_statistics is not None

    # Parent and child were measured on the same frames: the parent's number comes out here as well.
    assert child.metrics["held_out"]["frames"] == child.metrics["parent_held_out"]["frames"] == 6
    assert child.metrics["test"]["frames"] == child.metrics["parent_test"]["frames"] == 12
    with TiledStore(data) as store:
        labelled = frames_of_truth(store.runs)
        at = [i for i, f in enumerate(labelled.frames) if f.run_uid == held_out["run_uid"]]
        drawn = list(labelled.read(at))
    posterior = Classifier(parent, alone=True).classify([d.frame for d in drawn], drawn[0].geometry)
    right = np.mean(posterior.disk_number == [d.disk_number for d in drawn])
    assert child.metrics["parent_held_out"]["accuracy"] == right
    for key in ("held_out", "parent_held_out", "test", "parent_test"):
        assert f"{child.metrics[key]['accuracy']:.4f}" in done.stdout
    assert "to train on: 12 frames of 2 runs" in done.stderr and "held out: 6 frames" in done.stderr


def _speckle(*arguments: object) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own: keras and a Tiled server break pytest's capturing."""
    command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
