"""Recipes, streams of frames, and a training that is killed and goes on."""

from __future__ import annotations

import itertools
import json
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from speckle_plugin.network import load_bundle
from training.frames import DrawnFrame, balanced_set, stream
from training.recipe import RECIPE_FOLDER, FrameRecipe, TrainingRecipe, load_recipe
from training.train import make_checkpoints

SMALL = FrameRecipe(size=33, disk_numbers=(2, 7, 20), families=("mono", "poly"), photons=(1e4, 1e6))


def _take(frames: Iterator[DrawnFrame], count: int) -> list[tuple[bytes, int]]:
    """Give frames as bytes: equal only where every pixel is."""
    return [(drawn.frame.tobytes(), drawn.disk_number) for drawn in itertools.islice(frames, count)]


def test_a_stream_is_made_again_from_its_seed() -> None:
    assert _take(stream(SMALL, 5, "train"), 8) == _take(stream(SMALL, 5, "train"), 8)
    assert len(set(_take(stream(SMALL, 5, "train"), 50))) == 50


def test_a_stream_can_be_entered_anywhere() -> None:
    whole = _take(stream(SMALL, 5, "train"), 10)
    assert _take(stream(SMALL, 5, "train", start=4), 6) == whole[4:]


@pytest.mark.parametrize("count", [None, 7])
def test_machines_share_a_stream(count: int | None) -> None:
    whole = _take(stream(SMALL, 5, "train", count=count), 12)
    parts = [_take(stream(SMALL, 5, "train", start=i, count=count, step=3), 4) for i in range(3)]
    assert [frame for frames in zip(*parts, strict=True) for frame in frames] == whole


def test_streams_share_no_frame() -> None:
    drawn = [
        _take(stream(SMALL, 5, "train"), 60),
        _take(stream(SMALL, 6, "train"), 60),
        _take(balanced_set(SMALL, 20, 5, "validation"), 60),
        _take(balanced_set(SMALL, 20, 5, "test"), 60),
        _take(balanced_set(SMALL, 20, 6, "test"), 60),
    ]
    assert [len(frames) for frames in drawn] == [60] * 5
    assert len({pixels for frames in drawn for pixels, _ in frames}) == 300


def test_a_balanced_set_holds_every_disk_number_as_often() -> None:
    drawn = [drawn.disk_number for drawn in balanced_set(SMALL, 3, 0, "test")]
    assert drawn == [2, 2, 2, 7, 7, 7, 20, 20, 20]


def test_a_set_of_a_fixed_size_is_gone_through_again_in_another_order() -> None:
    drawn = _take(stream(SMALL, 5, "train", count=12), 36)
    rounds = [drawn[:12], drawn[12:24], drawn[24:]]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(rounds[2])
    assert rounds[0] != rounds[1] != rounds[2]
    assert Counter(n for _, n in rounds[0]) == {2: 4, 7: 4, 20: 4}
    assert _take(stream(SMALL, 5, "train", start=15, count=12), 21) == drawn[15:]


def test_shares_and_parts() -> None:
    recipe = replace(SMALL, shares=(3.0, 1.0), noisy_share=0.25, masked_share=0.5)
    drawn = list(itertools.islice(stream(recipe, 3, "train"), 400))
    noisy = np.mean([np.array_equal(d.frame, d.frame.round()) for d in drawn])
    masked = np.mean([d.geometry.mask is not None for d in drawn])
    assert 0.18 < noisy < 0.32
    assert 0.42 < masked < 0.58
    largest = max(d.geometry.mask.mean() for d in drawn if d.geometry.mask is not None)
    assert 0.02 < largest < 0.12


def test_a_beam_off_its_centre_moves_the_pattern_but_not_the_geometry() -> None:
    still = next(stream(replace(SMALL, photons=()), 4, "train"))
    moved = next(stream(replace(SMALL, photons=(), beam_offset=2.0), 4, "train"))
    assert moved.geometry.beam_center == still.geometry.beam_center == (0.0, 0.0)
    assert moved.disk_number == still.disk_number
    assert not np.allclose(moved.frame, still.frame, rtol=0.1)


def test_photons_lie_between_the_bounds() -> None:
    sums = [drawn.frame.sum() for drawn in itertools.islice(stream(SMALL, 0, "train"), 40)]
    assert min(sums) > 0.9e4
    assert max(sums) < 1.1e6
    assert max(sums) > 10 * min(sums)


@pytest.mark.parametrize("path", sorted(RECIPE_FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_recipes(path: Path) -> None:
    recipe = load_recipe(path.stem)
    assert recipe == load_recipe(path)
    assert recipe.name == path.stem


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('version = "1"\nname = "a"\ncolour = 1', r"unknown keys \['colour'\] for TrainingRecipe"),
        ('version = "1"\nname = "a"\n[frames]\nsice = 3', r"unknown keys \['sice'\] for FrameRecipe"),
        (
            'version = "1"\nname = "a"\n[preprocessing]\nblur = 3',
            r"unknown keys \['blur'\] for Prep",
        ),
        ('version = "1"\nname = "a"\n[preprocessing]\ncrop = 3', "crop must be"),
        ('version = "1"\nname = "a"\nsteps = 7\nsteps_per_epoch = 2', "must be a multiple"),
        ('version = "1"\nname = "a"\nbatch = 1', "batch >= 2"),
        ('version = "1"\nname = "a"\n[frames]\nfamilies = ["cubes"]', "cubes"),
        ('version = "1"\nname = "a"\n[frames]\ndisk_numbers = [2]', "at least two"),
        ('version = "1"\nname = "a"\n[frames]\nphotons = [5, 1]', "least, most"),
        ('version = "1"\nname = "a"\n[frames]\ndisk_numbers = [5, 3]', "in rising order"),
        ('version = "1"\nname = "a"\n[frames]\nshares = [1, 2]', "one positive number for each family"),
        ('version = "1"\nname = "a"\n[frames]\nmasked_share = 2', "masked_share must be from 0 to 1"),
        ('version = "1"\nname = "a"\n[frames]\nbeam_offset = -1', "beam_offset must be 0 or more"),
        (
            'version = "1"\nname = "a"\noptimizer = "sgd"',
            "optimizer: input should be 'adamw' or 'adam', not 'sgd'",
        ),
        (
            'version = "1"\nname = "a"\narchitecture = "vgg"',
            "architecture must be one of resnet50, resnet50_wide",
        ),
        ('version = "1"\nname = "a"\nlearning_rate = nan', "learning_rate must be positive"),
        ('version = "1"\nname = "a"\nwarmup_steps = -1', "0 or more, not -1 and 0"),
        ('version = "1"\nname = "a"\nframes = 5', "expected keys and values for FrameRecipe, not 5"),
        ('version = "1"\nname = "a"\n[frames]\ngrid = "round"', "round"),
        ('version = "1"\nname = "a"\n[frames]\nsize = 1', "size"),
        ('version = "1"\nname = "a"\n[frames]\nfamilies = []', "at least one family"),
        ('version = "1"\nname = "a"\n[frames]\nbeam_offset = nan', "beam_offset must be 0 or more"),
        ('version = "1"\nname = "a"\nema_momentum = 1', "ema_momentum must be"),
        ('version = "1"\nname = "a"\ntraining_frames = 3', "at least one batch"),
        ('version = "1"\nname = "a"\ntest_per_class = 0', "must be at least 1, not 0 and 10"),
        ('version = "1"\nname = "a"\nvalidation_per_class = 0', "must be at least 1, not 100 and 0"),
        ('version = "1"\nname = "a"\npatience = 0', "patience must be at least 1 epoch"),
        ('version = "1"\nname = "a"\n[preprocessing]\nsoftness = 0', "softness must be positive"),
        ('version = "1"\nname = "a"\n[preprocessing]\nmap_size = 8', "map_size None or at least"),
        ("name = ", "Invalid value"),
    ],
)
def test_recipe_errors(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match=message):
        load_recipe(path)


@pytest.mark.parametrize(
    "text",
    [
        'version = "1"',  # no name
        'version = "1"\nname = "a"\nsteps = "many"',
        'version = "1"\nname = "a"\nsteps_per_epoch = 0',
    ],
)
def test_recipes_of_missing_or_wrong_values(tmp_path: Path, text: str) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text(text)
    with pytest.raises(ValueError, match="recipe.toml"):
        load_recipe(path)


def test_changes_of_a_recipe() -> None:
    changed = load_recipe("mono", ["steps=50", "preprocessing.intensity=linear", "frames.photons=[1e4, 1e5]"])
    assert (changed.steps, changed.preprocessing.intensity) == (50, "linear")
    assert changed.frames.photons == (1e4, 1e5)
    assert load_recipe("mono", ["steps=1e3"]).steps == 1000
    plain = load_recipe("mono")
    assert changed.preprocessing == replace(plain.preprocessing, intensity="linear")
    assert (
        replace(changed, steps=plain.steps, frames=plain.frames, preprocessing=plain.preprocessing) == plain
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("steps", "give KEY=VALUE"),
        ("a.b.c=1", "give KEY=VALUE"),
        ("stepz=1", r"unknown keys \['stepz'\]"),
        ("frames.sice=1", r"unknown keys \['sice'\]"),
        ("preprocessing.intensity=cubic", "intensity: input should be 'log', 'linear' or 'patterson'"),
        ("steps=many", "steps: input should be a valid integer.*, not 'many'"),
        ("steps=1.5", "steps: input should be a valid integer.*, not 1.5"),
        ("frames=5", "expected keys and values for FrameRecipe, not 5"),
        ("name.first=1", "name is 'mono', no table"),
    ],
)
def test_changes_that_cannot_be(change: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        load_recipe("mono", [change])


def test_a_missing_recipe_names_those_that_are_there() -> None:
    with pytest.raises(ValueError, match=r"no recipe at nothing.*mono"):
        load_recipe("nothing")


TINY = TrainingRecipe(
    name="tiny",
    version="1",
    frames=FrameRecipe(size=33, disk_numbers=(2, 20)),
    steps=6,
    batch=4,
    steps_per_epoch=2,
    warmup_steps=2,
    validation_per_class=2,
    test_per_class=3,
    seed=1,
)

TRAIN = """
import os, signal, sys
from test_training import TINY
from training.train import train

def report(what, done, total, numbers):
    if what == "train":
        print(done, flush=True)
    if what == "train" and done == int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

train(TINY, sys.argv[1], report)
"""


def _train(folder: Path, kill_at: int) -> tuple[int, list[str]]:
    """Train in a process of its own, which kills itself after a step; give exit code and steps."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, str(folder), str(kill_at)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.timeout(1200)  # three processes, each of which builds and traces a ResNet-50
def test_a_killed_training_goes_on_where_it_stopped(tmp_path: Path) -> None:
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    # Two steps are an epoch: the kill in the second epoch throws away step 3 only.
    code, steps = _train(killed, kill_at=3)
    assert code == -signal.SIGKILL
    assert steps == ["1", "2", "3"]
    assert not list(killed.glob("*.bundle"))

    code, steps = _train(killed, kill_at=0)
    assert code == 0
    assert steps == ["3", "4", "5", "6"]
    bundle = load_bundle(killed / "tiny.bundle")
    assert [point["epoch"] for point in bundle.training["curves"]] == [1, 2, 3]
    assert bundle.metrics["test"]["frames"] == 6
    assert bundle.training["recipe"] == json.loads((killed / "recipe.json").read_text())["recipe"]
    assert bundle.training["seed"] == 1

    # What comes out is what a training that was left alone gives.
    assert _train(whole, kill_at=0)[0] == 0
    left_alone = load_bundle(whole / "tiny.bundle")
    for one, other in zip(bundle.training["curves"], left_alone.training["curves"], strict=True):
        assert one == pytest.approx(other, rel=0.05), (
            bundle.training["curves"],
            left_alone.training["curves"],
        )
    # The batch statistics are settled on the same frames.
    deviation = np.sqrt(left_alone.weights["conv1_bn/moving_variance"].astype(float))
    gap = np.abs(bundle.weights["conv1_bn/moving_mean"] - left_alone.weights["conv1_bn/moving_mean"])
    assert (gap / deviation).max() < 0.05


AVERAGED = """
import json, sys
from dataclasses import replace
from pathlib import Path
import keras
import numpy as np
from test_training import TINY
from training.train import train

recipe = replace(TINY, ema_momentum=0.9, patience=1, steps=4)
bundle = train(recipe, sys.argv[1])
folder = Path(sys.argv[1])
best = json.loads((folder / "state.json").read_text())["best_checkpoint"]
model = keras.models.load_model(folder / best)
raw = model.get_layer("logits").kernel.numpy()
model.optimizer.finalize_variable_values(model.trainable_variables)
average = model.get_layer("logits").kernel.numpy()
came = bundle.weights["logits/kernel"]
print(np.abs(came - average).max(), np.abs(came - raw).max(), np.abs(raw).max())
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_average_of_the_weights_comes_out_of_the_best_epoch(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", AVERAGED, str(tmp_path)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    from_average, from_raw, largest = map(float, done.stdout.split()[-3:])
    assert from_average < 1e-3 * largest < from_raw  # float16 rounds by less


TRAIN_TOGETHER = """
import json, os, sys
index, folder, *ports = sys.argv[1:]
workers = [f"localhost:{port}" for port in ports]
task = {"type": "worker", "index": int(index)}
os.environ["TF_CONFIG"] = json.dumps({"cluster": {"worker": workers}, "task": task})
from test_training import TINY
from training.train import train

def report(what, done, total, numbers):
    if what == "train":
        print(done, numbers["loss"], flush=True)

bundle = train(TINY, folder, report)
print(sum(float(abs(bundle.weights[name]).sum()) for name in bundle.weights if "kernel" in name), flush=True)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_machines_train_one_network(tmp_path: Path) -> None:
    """On loopback, by MultiWorkerMirroredStrategy: the same losses and weights on both."""
    ports = [str(_free_port()) for _ in range(2)]
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", TRAIN_TOGETHER, str(i), str(tmp_path / str(i)), *ports],
            cwd=Path(__file__).parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        for i in range(2)
    ]
    try:
        told = [worker.communicate(timeout=800)[0].splitlines() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()
    assert [worker.returncode for worker in workers] == [0, 0]
    assert told[0] == told[1]
    assert [line.split()[0] for line in told[0][:-1]] == [str(step) for step in range(1, 7)]


TRAIN_MIRRORED = """
import sys
import tensorflow as tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import training.train
from test_training import TINY

training.train.choose_strategy = lambda: tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
print(training.train.train(TINY, sys.argv[1]).training["frames_seen"])
"""


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_devices_of_a_machine_train_one_network(tmp_path: Path) -> None:
    """By MirroredStrategy, as on several GPUs: here the CPU stands in for both."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN_MIRRORED, str(tmp_path)],
        cwd=Path(__file__).parent,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert int(done.stdout.split()[-1]) == TINY.steps * TINY.batch
    assert load_bundle(tmp_path / f"{TINY.name}.bundle").metrics["test"]["frames"] > 0
    assert list((tmp_path / "tensorboard" / "train").glob("events*"))


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("localhost", 0))
        return listener.getsockname()[1]


class FakeModel:
    stop_training = False

    def save(self, path: Path) -> None:
        path.write_text(path.name)


def test_training_stops_where_the_validation_loss_falls_no_more(tmp_path: Path) -> None:
    state: dict[str, Any] = {"epoch": 0, "curves": [], "best": float("inf"), "waited": 0}
    model = FakeModel()
    callback = make_checkpoints(tmp_path / "checkpoint.keras", tmp_path / "state.json", state, patience=2)
    callback.set_model(model)
    stopped = []
    for epoch, loss in enumerate([3.0, 2.0, 2.5, 2.1]):
        callback.on_epoch_end(epoch, {"val_loss": loss})
        stopped.append(model.stop_training)
    assert stopped == [False, False, False, True]
    kept = json.loads((tmp_path / "state.json").read_text())
    assert (kept["best_checkpoint"], kept["checkpoint"]) == ("checkpoint-2.keras", "checkpoint-4.keras")
    assert {p.name for p in tmp_path.glob("*.keras")} == {"checkpoint-2.keras", "checkpoint-4.keras"}
    assert [point["val_loss"] for point in kept["curves"]] == [3.0, 2.0, 2.5, 2.1]


def test_without_patience_only_the_newest_checkpoint_is_kept(tmp_path: Path) -> None:
    state: dict[str, Any] = {"epoch": 0, "curves": [], "best": float("inf"), "waited": 0}
    callback = make_checkpoints(tmp_path / "checkpoint.keras", tmp_path / "state.json", state, patience=None)
    callback.set_model(FakeModel())
    for epoch, loss in enumerate([2.0, 2.5, 2.1]):
        callback.on_epoch_end(epoch, {"val_loss": loss})
    assert {p.name for p in tmp_path.glob("*.keras")} == {"checkpoint-3.keras"}
