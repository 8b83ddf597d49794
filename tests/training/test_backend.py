"""Keras on JAX: the same losses as on TensorFlow, and a training that goes on where it was killed."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speckle_plugin.network import load_bundle
from tests.testing.stored_runs import small_parent
from tests.training.test_training import TINY
from training.batches import batches, make_batch
from training.frames import stream
from training.inputs import prepared_inputs
from training.recipe import FrameRecipe, load_recipe

RECIPE = replace(
    TINY,
    frames=FrameRecipe(size=33, disk_numbers=(2, 7, 20)),
    learning_rate=1e-4,
    steps=4,
    validation_per_class=1,
    test_per_class=1,
)

TRAIN = """
import sys
from dataclasses import replace
from speckle_plugin.network import load_bundle
from tests.training.test_backend import RECIPE
from training.train import train

backend, folder, parent, kill_at = sys.argv[1:]

def report(what, done, total, numbers):
    if what == "train":
        print(done, numbers["loss"], flush=True)
        if done == int(kill_at):
            import os, signal
            os.kill(os.getpid(), signal.SIGKILL)

train(replace(RECIPE, backend=backend), folder, report, parent=load_bundle(parent))
"""


def _train(backend: str, folder: Path, parent: Path, kill_at: int = 0) -> Mapping[int, float]:
    """Train in a process of its own; gives the mean loss of the epoch at each step."""
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, backend, str(folder), str(parent), str(kill_at)],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "KERAS_BACKEND": backend},
        stdout=subprocess.PIPE,
        text=True,
        check=not kill_at,
    )
    return {int(step): float(loss) for step, loss in (line.split() for line in done.stdout.splitlines())}


@pytest.mark.slow
@pytest.mark.timeout(1800)  # four processes, each of which builds and compiles a ResNet-50
def test_jax_trains_as_tensorflow_does_and_goes_on_where_it_was_killed(tmp_path: Path) -> None:
    parent = tmp_path / "small.bundle"
    small_parent(parent)
    tensorflow = _train("tensorflow", tmp_path / "tensorflow", parent)
    jax = _train("jax", tmp_path / "jax", parent)
    assert list(jax) == list(tensorflow) == [1, 2, 3, 4]
    # The first loss is that of the parent's weights; after that, updates round differently.
    assert jax[1] == pytest.approx(tensorflow[1], rel=1e-4)
    assert list(jax.values()) == pytest.approx(list(tensorflow.values()), rel=0.02)

    assert list(_train("jax", tmp_path / "killed", parent, kill_at=3)) == [1, 2, 3]
    again = _train("jax", tmp_path / "killed", parent)
    assert list(again) == [3, 4]
    assert again[4] == pytest.approx(jax[4], rel=0.01)
    bundle = load_bundle(tmp_path / "killed" / "tiny.bundle")
    assert "jax" in bundle.training["versions"] and "tensorflow" not in bundle.training["versions"]
    assert bundle.training["recipe"]["backend"] == "jax"
    assert bundle.metrics["test"]["frames"] == 3
    state = json.loads((tmp_path / "killed" / "state.json").read_text())
    assert [point["epoch"] for point in state["curves"]] == [1, 2]


@pytest.mark.parametrize("grid", ["quadrant", "centered"])
def test_batches_are_those_of_the_stream_from_any_step_on(grid: str) -> None:
    """Frames of a centred detector give two views each, and a batch of three ends between them."""
    recipe = replace(TINY, batch=3, frames=FrameRecipe(size=65, disk_numbers=(2, 20), grid=grid))
    whole = list(itertools.islice(prepared_inputs(recipe, stream(recipe.frames, recipe.seed, "train")), 12))
    for first in (0, 1):
        given = batches(recipe, first)
        for step in range(first, 4):
            inputs, classes = next(given)
            expected = whole[3 * step : 3 * step + 3]
            np.testing.assert_array_equal(inputs, [view for view, _ in expected])
            assert classes.tolist() == [index for _, index in expected]
        given.close()  # type: ignore[attr-defined]
    assert make_batch(recipe, 2)[0].shape[0] == 3


def test_the_backend_of_a_recipe() -> None:
    assert load_recipe("mono").backend == "tensorflow"
    assert load_recipe("mono", ["backend=jax"]).backend == "jax"
    with pytest.raises(ValueError, match="backend: input should be 'tensorflow' or 'jax'"):
        load_recipe("mono", ["backend=torch"])


def test_keras_that_runs_on_another_backend_is_told() -> None:
    code = (
        "import keras\n"
        "from training.backend import begin\n"
        "try:\n    begin('tensorflow')\nexcept ValueError as error:\n    print(error)"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment, cwd=root
    )
    assert done.stdout.startswith("Keras runs on 'jax' in this process, and this needs TensorFlow")
