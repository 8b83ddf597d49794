"""Scores, calibration and out-of-distribution statistics on numbers worked out by hand."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import Preprocessing
from training import calibrate as calibration
from training.evaluation.measure import Predictions, predict, reliability_curve, scores
from training.evaluation.run import evaluate_bundle
from training.evaluation.study import ideal_recipe_of
from training.evaluation.unknowns import UNKNOWNS, unknown_frames
from training.frames import balanced_set
from training.recipe import FrameRecipe, load_recipe

CLASSES = (2, 5, 9)
SMALL = FrameRecipe(size=33, disk_numbers=CLASSES)


def _predictions(truth: list[int], rows: list[list[float]]) -> Predictions:
    return Predictions(CLASSES, np.array(truth), np.array(rows, np.float32), np.zeros(len(truth), np.float32))


def test_scores() -> None:
    sure = [[1.0, 0, 0], [0, 1.0, 0], [0, 1.0, 0], [0, 0, 1.0]]
    found = scores(_predictions([2, 5, 9, 9], sure))
    assert (found["frames"], found["errors"], found["accuracy"]) == (4, 1, 0.75)
    assert (found["within_one"], found["off_by_more_than_one"], found["off_by_more_than_two"]) == (0.75, 1, 1)
    assert found["confusion_matrix"] == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert found["per_class"]["precision"] == [1.0, 0.5, 1.0]
    assert found["per_class"]["recall"] == [1.0, 1.0, 0.5]
    assert found["f1"] == pytest.approx((1.0 + 2 / 3 + 2 / 3) / 3)


def test_scores_of_a_class_that_is_absent_count_only_those_present() -> None:
    found = scores(_predictions([2, 2], [[0.8, 0.1, 0.1]] * 2))
    assert (found["precision"], found["recall"], found["f1"]) == (1.0, 1.0, 1.0)
    assert found["cross_entropy"] == pytest.approx(-np.log(0.8), rel=1e-5)


def test_the_calibration_error_is_the_gap_weighted_by_frames() -> None:
    rows = [[0.95, 0.05, 0]] * 3 + [[0.55, 0.45, 0]]
    curve = reliability_curve(_predictions([2, 2, 5, 2], rows))
    assert curve["frames"] == [1, 3]
    assert curve["accuracy"] == pytest.approx([1.0, 2 / 3])
    assert curve["expected_calibration_error"] == pytest.approx(0.25 * 0.45 + 0.75 * (0.95 - 2 / 3), rel=1e-5)


def test_the_temperature_makes_confidence_agree_with_accuracy() -> None:
    rng = np.random.default_rng(0)
    true_logits = rng.normal(0.0, 2.0, (20000, 5))
    p = np.exp(true_logits) / np.exp(true_logits).sum(axis=1, keepdims=True)
    classes = (p.cumsum(axis=1) > rng.random((len(p), 1))).argmax(axis=1)
    found = calibration.fit_temperature(list((3.0 * true_logits)[:, None]), classes.tolist())
    assert found == pytest.approx(3.0, rel=0.03)
    # Two views that say the same are no more than one, and joined they are too sure by the square root of 2.
    views = [np.stack([row, row]) for row in 3.0 * true_logits]
    assert calibration.fit_temperature(views, classes.tolist()) == pytest.approx(3.0 * 2**0.5, rel=0.03)


class DistanceEngine:
    """Features are mean and deviation of an input's border; logits say always five, too surely."""

    name, precision, device = "fake", "float32", "CPU"

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        border = inputs[:, -4:].reshape(len(inputs), -1)
        features = np.concatenate([border, border**2], axis=1)
        return NetworkOutput(np.tile(np.array([0.0, 9.0, 0.0], np.float32), (len(inputs), 1)), features)


@pytest.fixture
def calibrated(monkeypatch: pytest.MonkeyPatch) -> Bundle:
    monkeypatch.setattr(calibration, "make_engine", lambda bundle: DistanceEngine())
    monkeypatch.setattr(calibration, "PER_CLASS", 40)
    monkeypatch.setattr(calibration, "RANK", 4)
    monkeypatch.setattr(calibration, "LEAST_FOR_STATISTICS", 100)
    bundle = Bundle("fake", "1", CLASSES, Preprocessing(), {})
    return calibration.calibrate(bundle, SMALL, seed=3)


def test_a_network_too_sure_of_itself_is_cooled(calibrated: Bundle) -> None:
    assert calibrated.temperature > 4.0


def test_the_threshold_lets_known_frames_pass_and_flags_noise(calibrated: Bundle) -> None:
    classifier = Classifier(calibrated, DistanceEngine())
    known = predict(classifier, balanced_set(SMALL, 30, 8, "test"))
    noise = predict(classifier, unknown_frames("flat Poisson noise", SMALL, 40, 8))
    assert calibrated.feature_statistics is not None
    threshold = calibrated.feature_statistics.threshold
    assert (known.novelty > threshold).mean() < 0.1
    assert (noise.novelty > threshold).mean() > 0.5


def test_frames_are_classified_each_by_its_own_geometry() -> None:
    class LastRowEngine(DistanceEngine):
        def __init__(self) -> None:
            self.zeros: list[int] = []

        def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
            self.zeros += [int((view == 0).sum()) for view in inputs]
            return super().run(inputs)

    engine = LastRowEngine()
    frames = list(balanced_set(replace(SMALL, masked_share=1.0), 4, 1, "test"))
    predict(Classifier(Bundle("fake", "1", CLASSES, Preprocessing(), {}), engine), frames)
    masked = [int(d.geometry.mask.sum()) for d in frames if d.geometry.mask is not None]
    assert len(masked) == len(engine.zeros) == 12
    assert all(36 <= zeros <= 36 + m for zeros, m in zip(engine.zeros, masked, strict=True))
    assert len(set(engine.zeros)) > 3


def test_studies_begin_with_frames_of_an_ideal_world() -> None:
    trained = replace(load_recipe("real_world").frames, shape="sphere")
    bundle = Bundle(
        "fake", "1", CLASSES, Preprocessing(), {}, training={"recipe": {"frames": asdict(trained)}}
    )
    ideal = FrameRecipe(families=trained.families, shares=trained.shares)
    for one, other in zip(
        balanced_set(ideal_recipe_of(bundle), 1, 1, "test"), balanced_set(ideal, 1, 1, "test"), strict=True
    ):
        np.testing.assert_array_equal(one.frame, other.frame)
        assert one.geometry.mask is None


@pytest.mark.parametrize("kind", UNKNOWNS)
def test_unknown_frames_are_frames(kind: str) -> None:
    drawn = list(unknown_frames(kind, FrameRecipe(size=65), 2, 1))
    again = list(unknown_frames(kind, FrameRecipe(size=65), 2, 1))
    for frame, repeated in zip(drawn, again, strict=True):
        assert frame.frame.shape == (65, 65)
        assert frame.frame.dtype == np.float32
        assert np.isfinite(frame.frame).all()
        assert frame.frame.min() >= 0 or kind == "readout noise of 5 counts"
        np.testing.assert_array_equal(frame.frame, repeated.frame)


def test_no_frames_is_an_error() -> None:
    with pytest.raises(ValueError, match="no frames to measure on"):
        predict(Classifier(Bundle("fake", "1", CLASSES, Preprocessing(), {}), DistanceEngine()), [])


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({}, "does not say on which simulated frames"),
        ({"recipe": {"frames": {"size": 33}}, "seed": 2}, "the seed 2 is that of the training"),
    ],
)
def test_what_cannot_be_evaluated(training: dict[str, Any], message: str) -> None:
    bundle = Bundle("fake", "1", CLASSES, Preprocessing(), {}, training=training)
    with pytest.raises(ValueError, match=message):
        evaluate_bundle(bundle, 2, (1, 2))
