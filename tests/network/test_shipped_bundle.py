"""The shipped weights on fresh frames of every family, and both engines on the same weights."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import centered, draw_system, grid_by_name, intensity, quadrant
from speckle_plugin.network import find_bundle, shipped_bundles
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import make_engine
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.schema import Flag
from training.evaluation.measure import Predictions, predict
from training.evaluation.studies import REAL_WORLD
from training.evaluation.unknowns import unknown_frames
from training.frames import balanced_set
from training.recipe import FrameRecipe, load_recipe

SEED = 7_000_001
PER_CLASS = 4


@cache
def classifier(name: str) -> Classifier:
    return Classifier(name, "openvino")


def noisy(family: str, photons: float) -> FrameRecipe:
    return FrameRecipe(families=(family,), photons=(photons, photons))


def _predict(name: str, recipe: FrameRecipe) -> Predictions:
    return predict(classifier(name), balanced_set(recipe, PER_CLASS, SEED, "test"))


@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_it_is_shipped_with_its_history(name: str) -> None:
    assert set(shipped_bundles()) == {"quadrant", "published"}
    bundle = find_bundle(name)
    recipe = bundle.training["recipe"]
    assert bundle.classes == tuple(range(2, 21))
    assert bundle.training["seed"] == recipe["seed"] != SEED
    assert bundle.training["curves"][-1]["epoch"] * recipe["steps_per_epoch"] == recipe["steps"]
    assert bundle.metrics["test"]["frames"] == 1900
    assert 0.3 < bundle.temperature < 3.0
    assert bundle.feature_statistics is not None


@pytest.mark.parametrize("name", ["quadrant", "published"])
def test_one_recipe_makes_it_from_random_weights(name: str) -> None:
    bundle = find_bundle(name)
    assert bundle.parent == ""
    recipe = json.loads(json.dumps(asdict(load_recipe(name))))
    stored = dict(bundle.training["recipe"])
    for part in ("frames", "preprocessing"):  # settings that came later have their defaults
        there = recipe.pop(part)
        assert {key: there[key] for key in stored[part]} == stored.pop(part)
    assert {key: recipe[key] for key in stored} == stored


def test_the_default_is_the_one_for_quadrants() -> None:
    assert find_bundle().name == "quadrant"


@pytest.mark.parametrize(
    ("name", "recipe", "accuracy", "within_one"),
    [
        ("quadrant", FrameRecipe(families=("mono",)), 0.98, 0.99),
        ("quadrant", noisy("mono", 1e4), 0.96, 0.99),
        ("quadrant", FrameRecipe(families=("poly",)), 0.82, 0.97),
        ("quadrant", noisy("poly", 1e5), 0.7, 0.95),
        ("quadrant", noisy("poly", 1e4), 0.5, 0.88),
        ("quadrant", FrameRecipe(families=("poly_published",)), 0.9, 0.98),
        ("quadrant", FrameRecipe(families=("constant_radius",)), 0.95, 0.99),
        ("quadrant", noisy("constant_radius", 1e5), 0.88, 0.98),
        ("published", FrameRecipe(families=("constant_radius",), grid="published"), 0.92, 0.98),
    ],
    ids=lambda value: (
        f"{value.families[0]} {value.grid} {value.photons}" if hasattr(value, "families") else ""
    ),
)
def test_it_counts_the_disks_of_fresh_frames(
    name: str, recipe: FrameRecipe, accuracy: float, within_one: float
) -> None:
    found = _predict(name, recipe)
    assert found.accuracy >= accuracy
    assert found.within_one >= within_one


def test_the_head_names_frames_that_the_network_does_not() -> None:
    """Beside the network's labels, so that a trust file without a head fails."""
    recipe = FrameRecipe(families=("poly",))
    alone = predict(Classifier("quadrant", "openvino", alone=True), balanced_set(recipe, 8, SEED, "test"))
    both = predict(classifier("quadrant"), balanced_set(recipe, 8, SEED, "test"))
    assert both.accuracy >= alone.accuracy + 0.04
    assert both.possible is not None and alone.possible is None


@pytest.mark.parametrize("world", ["coherence length 500", "charge sharing of up to 0.3 pixels"])
def test_the_head_does_not_mislead_where_a_frame_is_odd(world: str) -> None:
    """Heard of such frames it names at most half of those that the network does."""
    recipe = replace(noisy("mono", 1e6), noisy_share=1.0, **REAL_WORLD[world])
    alone = predict(Classifier("quadrant", "openvino", alone=True), balanced_set(recipe, 4, SEED, "test"))
    both = predict(classifier("quadrant"), balanced_set(recipe, 4, SEED, "test"))
    assert both.accuracy >= alone.accuracy - 0.06 > 0.7


def test_the_frames_that_the_authors_published(published_frames: dict[str, NDArray[Any]]) -> None:
    frames, numbers = published_frames["frames"], published_frames["disk_number"]
    grid = grid_by_name("published", 257)
    found = classifier("published").classify(frames, FrameGeometry(grid.shape, grid.beam_center))
    assert (found.disk_number == numbers).mean() >= 0.95
    assert (np.abs(found.disk_number - numbers) <= 1).all()


def test_a_larger_frame_needs_no_resampling() -> None:
    rng = np.random.default_rng(SEED)
    numbers = [2, 7, 13, 19]
    frames = np.stack([intensity(draw_system("mono", n, rng), quadrant(513)) for n in numbers])
    found = classifier("quadrant").classify(frames, FrameGeometry((513, 513)))
    assert found.disk_number.tolist() == numbers


def test_a_centred_detector_is_read_by_the_same_weights() -> None:
    rng = np.random.default_rng(SEED)
    numbers = [3, 8, 14, 20]
    frames = np.stack([intensity(draw_system("mono", n, rng), centered(257)) for n in numbers])
    geometry = FrameGeometry((257, 257), (128.0, 128.0))
    assert classifier("quadrant").prepare(frames, geometry).shape == (4, 2, 129 + 64, 129)
    assert classifier("quadrant").classify(frames, geometry).disk_number.tolist() == numbers


def test_known_frames_pass_and_unknown_ones_are_flagged() -> None:
    recipe = FrameRecipe(families=("poly",))
    known = [drawn.frame for drawn in balanced_set(recipe, 3, SEED, "test")]
    noise = [drawn.frame for drawn in unknown_frames("flat Poisson noise", recipe, 20, SEED)]
    shares = [
        np.mean([Flag.OUT_OF_DISTRIBUTION in r.flags for r in classifier("quadrant").label(frames, geometry)])
        for geometry in [FrameGeometry((257, 257))]
        for frames in (known, noise)
    ]
    assert shares[0] < 0.1
    assert shares[1] > 0.9


@pytest.fixture(scope="module")
def poly() -> NDArray[np.float32]:
    recipe = FrameRecipe(families=("poly",))
    return np.stack([drawn.frame for drawn in balanced_set(recipe, 1, SEED, "test")])


def test_the_engines_agree(poly: NDArray[np.float32]) -> None:
    """In float32 to 1e-3 in probability; on a processor with bfloat16 OpenVINO rounds, to 0.1."""
    geometry = FrameGeometry((257, 257))
    tensorflow = Classifier("quadrant", "tensorflow").classify(poly, geometry)
    openvino = classifier("quadrant").classify(poly, geometry)
    tolerance = 1e-3 if classifier("quadrant").engine.precision == "float32" else 0.1
    clear = np.abs(np.diff(np.sort(tensorflow.probabilities, axis=1)[:, -2:])).ravel() > tolerance
    assert clear.sum() > len(poly) / 2
    np.testing.assert_array_equal(tensorflow.disk_number[clear], openvino.disk_number[clear])
    np.testing.assert_allclose(tensorflow.probabilities, openvino.probabilities, atol=tolerance)
    np.testing.assert_allclose(tensorflow.novelty, openvino.novelty, rtol=0.05)


@pytest.mark.parametrize(
    ("driver", "gpus", "engine"), [(None, 1, "openvino"), ("smi", 0, "openvino"), ("smi", 1, "tensorflow")]
)
def test_the_engine_is_chosen_by_the_device(
    driver: str | None, gpus: int, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A driver alone is not enough: it may have no GPU, or TensorFlow may not be made for it."""
    monkeypatch.setattr("shutil.which", lambda _: driver)
    config = "tensorflow.config"
    monkeypatch.setattr(f"{config}.list_physical_devices", lambda kind: [kind] * gpus)
    monkeypatch.setattr(f"{config}.experimental.set_memory_growth", lambda *_: None)
    monkeypatch.setattr(f"{config}.experimental.get_device_details", lambda _: {"device_name": "H200"})
    made = make_engine(find_bundle())
    assert made.name == engine
    assert (made.device, made.precision) == ("H200", "float16") or engine == "openvino"


def test_a_new_process_classifies_without_tensorflow() -> None:
    """It would take seconds to import, and a session waits for that."""
    code = (
        "import sys, numpy as np;"
        "from speckle_plugin.network.classifier import Classifier;"
        "from speckle_plugin.preprocessing import FrameGeometry;"
        "Classifier('quadrant', 'openvino').classify(np.ones((1, 65, 65)), FrameGeometry((65, 65)));"
        "sys.exit('tensorflow' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(
        ValueError, match="unknown engine 'torch': expected one of auto, openvino, tensorflow"
    ):
        Classifier("quadrant", "torch")
