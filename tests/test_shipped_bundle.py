"""The shipped weights on fresh frames, and both engines on the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import centered, draw_system, intensity, quadrant
from speckle_plugin.classifier import Classifier
from speckle_plugin.models import find_bundle, shipped_bundles
from speckle_plugin.preprocessing import FrameGeometry
from training.frames import balanced_set
from training.recipe import FrameRecipe

SEED = 7_000_001
PER_CLASS = 3

Frames = tuple[NDArray[np.float32], NDArray[np.int64]]


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier("mono", "openvino")


@pytest.fixture(scope="module")
def mono() -> Frames:
    frames, numbers = zip(*balanced_set(FrameRecipe(), PER_CLASS, SEED, "test"), strict=True)
    return np.stack(frames), np.array(numbers)


def test_it_is_shipped_with_its_history() -> None:
    assert "mono" in shipped_bundles()
    bundle = find_bundle("mono")
    assert bundle.classes == tuple(range(2, 21))
    assert bundle.training["seed"] == bundle.training["recipe"]["seed"] != SEED
    assert bundle.training["curves"][-1]["epoch"] * 25 == bundle.training["recipe"]["steps"]
    assert bundle.metrics["test"]["frames"] == 1900
    assert bundle.metrics["test"]["accuracy"] >= 0.995


def test_it_counts_the_disks_of_fresh_frames(classifier: Classifier, mono: Frames) -> None:
    frames, numbers = mono
    posterior = classifier.classify(frames, FrameGeometry((257, 257)))
    assert (posterior.disk_number == numbers).mean() >= 0.98


def test_a_larger_frame_needs_no_resampling(classifier: Classifier) -> None:
    rng = np.random.default_rng(SEED)
    numbers = [2, 7, 13, 19]
    frames = np.stack([intensity(draw_system("mono", n, rng), quadrant(513)) for n in numbers])
    assert classifier.classify(frames, FrameGeometry((513, 513))).disk_number.tolist() == numbers


def test_a_centred_detector_is_read_by_the_same_weights(classifier: Classifier) -> None:
    rng = np.random.default_rng(SEED)
    numbers = [3, 8, 14, 20]
    frames = np.stack([intensity(draw_system("mono", n, rng), centered(257)) for n in numbers])
    geometry = FrameGeometry((257, 257), (128.0, 128.0))
    assert classifier.prepare(frames, geometry).shape == (4, 2, 129, 129)
    assert classifier.classify(frames, geometry).disk_number.tolist() == numbers


def test_the_engines_agree(classifier: Classifier, mono: Frames) -> None:
    """In float32 to 1e-4 in probability; on a processor with bfloat16 OpenVINO rounds, to 0.05."""
    frames, _ = mono
    geometry = FrameGeometry((257, 257))
    tensorflow = Classifier("mono", "tensorflow").classify(frames[::3], geometry)
    openvino = classifier.classify(frames[::3], geometry)
    tolerance = 1e-4 if classifier.engine.precision == "float32" else 0.05
    np.testing.assert_array_equal(tensorflow.disk_number, openvino.disk_number)
    np.testing.assert_allclose(tensorflow.probabilities, openvino.probabilities, atol=tolerance)


def test_an_unknown_engine_is_named() -> None:
    with pytest.raises(
        ValueError, match="unknown engine 'torch': expected one of auto, openvino, tensorflow"
    ):
        Classifier("mono", "torch")
