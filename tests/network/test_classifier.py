"""The classifier over a fake engine: what it makes of logits and of frames that are unfit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from speckle_plugin.network import Bundle, FeatureStatistics
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing
from speckle_plugin.schema import Flag, Status

CLASSES = (2, 5, 9)
BUNDLE = Bundle("fake", "1", CLASSES, Preprocessing(), {}, pitch=0.1)
CORNER = FrameGeometry((64, 64))


class FakeEngine:
    """Gives the same logits to every first view of a frame, and others to every second."""

    name, precision, device = "fake", "float32", "CPU"

    def __init__(self, *logits: tuple[float, ...], feature: float = 0.0) -> None:
        self.rows = logits
        self.feature = feature
        self.inputs: list[NDArray[np.float32]] = []

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        self.inputs.append(inputs)
        rows = np.asarray(self.rows, np.float32)
        features = np.full((len(inputs), 2), self.feature, np.float32)
        return NetworkOutput(rows[np.arange(len(inputs)) % len(rows)], features)


def _softmax(x: Any) -> NDArray[np.float64]:
    p = np.exp(np.asarray(x, float))
    return p / p.sum()


def _frame(dtype: Any = np.float32) -> NDArray[Any]:
    return np.random.default_rng(0).exponential(100.0, (64, 64)).astype(dtype)


def _label(frame: NDArray[Any], **options: Any) -> FrameResult:
    (result,) = Classifier(BUNDLE, FakeEngine((0.0, 1.0, 0.0))).label([frame], CORNER, **options)
    return result


def test_the_most_probable_class_is_the_label() -> None:
    engine = FakeEngine((0.0, 1.0, 3.0))
    posterior = Classifier(BUNDLE, engine).classify(np.stack([_frame(), _frame()]), CORNER)
    p = _softmax([0, 1, 3])
    assert posterior.disk_number.tolist() == [9, 9]
    assert posterior.probabilities.dtype == np.float32
    np.testing.assert_allclose(posterior.probabilities, [p, p], rtol=1e-6)
    np.testing.assert_allclose(posterior.confidence, p.max(), rtol=1e-6)
    np.testing.assert_allclose(posterior.entropy, -(p * np.log(p)).sum(), rtol=1e-5)
    assert [x.shape for x in engine.inputs] == [(2, 64, 64)]


def test_temperature_divides_the_logits() -> None:
    classifier = Classifier(replace(BUNDLE, temperature=4.0), FakeEngine((0.0, 1.0, 3.0)))
    found = classifier.classify(_frame(), CORNER).probabilities
    np.testing.assert_allclose(found, [_softmax([0, 0.25, 0.75])], rtol=1e-6)


def test_two_views_of_a_frame_are_joined() -> None:
    first, second = (0.0, 1.0, 3.0), (2.0, 2.5, -1.0)
    geometry = FrameGeometry((65, 65), (32, 32))
    frames = np.random.default_rng(0).exponential(100.0, (3, 65, 65))
    engine = FakeEngine(first, second)
    found = Classifier(BUNDLE, engine).classify(frames, geometry).probabilities
    joined = (_softmax(first) * _softmax(second)) ** 0.5**0.5
    np.testing.assert_allclose(found, [joined / joined.sum()] * 3, rtol=1e-5)
    assert [x.shape for x in engine.inputs] == [(6, 33, 33)]


def test_huge_logits_stay_finite() -> None:
    found = Classifier(BUNDLE, FakeEngine((-1e4, 1e4, 0.0))).classify(_frame(), CORNER)
    assert found.probabilities.tolist() == [[0.0, 1.0, 0.0]]
    assert found.entropy[0] == pytest.approx(0.0, abs=1e-6)


def test_an_engine_of_the_wrong_width() -> None:
    with pytest.raises(RuntimeError, match=r"'fake' gave logits of shape \(1, 2\), not \(1, 3\)"):
        Classifier(BUNDLE, FakeEngine((0.0, 1.0))).classify(_frame(), CORNER)


def test_a_good_frame_has_a_label_and_no_flag() -> None:
    result = _label(_frame(), k_step=0.1)
    assert (result.status, result.disk_number, result.flags) == (Status.CLASSIFIED, 5, ())
    assert result.confidence == pytest.approx(_softmax([0, 1, 0])[1])
    assert type(result.disk_number) is int
    assert type(result.confidence) is type(result.entropy) is float


def _with(pixel: float, dtype: Any = np.float32) -> NDArray[Any]:
    frame = _frame(dtype)
    frame[40, 40] = pixel
    return frame


@pytest.mark.parametrize(
    ("frame", "flag"),
    [
        (np.ones((64, 65)), Flag.WRONG_SHAPE),
        (np.ones((2, 64, 64)), Flag.WRONG_SHAPE),
        (np.full((64, 64), "x"), Flag.WRONG_SHAPE),
        (np.ones((64, 64), complex), Flag.WRONG_SHAPE),
        (_with(np.nan), Flag.NON_FINITE),
        (_with(np.inf), Flag.NON_FINITE),
        (_with(1e300, np.float64), Flag.NON_FINITE),  # not finite in the network's float32
        (np.zeros((64, 64)), Flag.EMPTY),
        (np.zeros((64, 64), np.uint16), Flag.EMPTY),
        (np.full((64, 64), -1.0), Flag.EMPTY),
        (np.full((64, 64), 3.0), Flag.EMPTY),
    ],
)
def test_frames_without_a_label(frame: NDArray[Any], flag: Flag) -> None:
    result = _label(frame)
    assert (result.status, result.disk_number, result.confidence) == (Status.FLAGGED, 0, 0.0)
    assert result.flags == (flag,)
    assert result.probabilities.tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("frame", "options", "flags"),
    [
        (_with(65535, np.uint16), {}, (Flag.SATURATED,)),
        (_with(65534, np.uint16), {}, ()),
        (_with(5000, np.uint16), {"saturation_level": 5000}, (Flag.SATURATED,)),
        (_with(1e9), {}, ()),  # floating point has no largest value
        (_with(-3.0), {}, (Flag.NEGATIVE,)),
        (_frame(), {"k_step": 0.2}, (Flag.OTHER_PITCH,)),
        (_frame(), {"k_step": 0.1001}, ()),
        (_with(-3, np.int32), {"k_step": 0.2}, (Flag.NEGATIVE, Flag.OTHER_PITCH)),
    ],
)
def test_frames_with_a_label_and_a_warning(
    frame: NDArray[Any], options: dict[str, float], flags: tuple[Flag, ...]
) -> None:
    result = _label(frame, **options)
    assert (result.status, result.disk_number) == (Status.CLASSIFIED, 5)
    assert result.flags == flags


def test_pixels_that_are_masked_raise_no_flag() -> None:
    mask = np.zeros((64, 64), bool)
    mask[40, 40] = True
    frame = _with(np.nan)
    frame[0, 0] = np.inf  # behind the beam stop
    (result,) = Classifier(BUNDLE, FakeEngine((0.0, 1.0, 0.0))).label(
        [frame], FrameGeometry((64, 64), mask=mask)
    )
    assert result.flags == ()


def test_unfit_frames_do_not_disturb_the_others() -> None:
    engine = FakeEngine((0.0, 1.0, 0.0))
    frames = [_frame(), np.zeros((3, 3)), _frame(np.uint16), np.zeros((64, 64)), _frame(np.float64)]
    results = Classifier(BUNDLE, engine).label(frames, CORNER)
    assert [r.status.value for r in results] == [
        "classified",
        "flagged",
        "classified",
        "flagged",
        "classified",
    ]
    assert [len(x) for x in engine.inputs] == [3]


def test_no_fit_frame_needs_no_engine() -> None:
    engine = FakeEngine((0.0, 1.0, 0.0))
    assert Classifier(BUNDLE, engine).label([np.zeros((64, 64))], CORNER)[0].status is Status.FLAGGED
    assert Classifier(BUNDLE, engine).label([], CORNER) == []
    assert engine.inputs == []


STATISTICS = FeatureStatistics(
    mean=np.zeros(2, np.float32),
    components=np.array([[1.0, 0.0]], np.float32),
    variances=np.array([4.0], np.float32),
    noise_variance=0.25,
    threshold=3.0,
)


def test_the_novelty_is_the_mahalanobis_distance_over_the_number_of_features() -> None:
    features = np.array([[0.0, 0.0], [2.0, 0.0], [0.0, 1.0], [2.0, 1.0]], np.float32)
    np.testing.assert_allclose(STATISTICS.distances(features), [0.0, 0.5, 2.0, 2.5], rtol=1e-6)


@pytest.mark.parametrize(("feature", "known"), [(1.0, True), (1.5, False)])
def test_a_frame_far_from_all_known_ones_keeps_its_label_and_is_flagged(feature: float, known: bool) -> None:
    bundle = replace(BUNDLE, feature_statistics=STATISTICS)
    (result,) = Classifier(bundle, FakeEngine((0.0, 1.0, 0.0), feature=feature)).label([_frame()], CORNER)
    assert result.status is Status.CLASSIFIED
    assert result.novelty == pytest.approx((feature**2 / 4 + feature**2 / 0.25) / 2)
    assert result.flags == (() if known else (Flag.OUT_OF_DISTRIBUTION, Flag.ODD_FEATURES))


def test_without_statistics_the_novelty_is_0_and_nothing_is_flagged() -> None:
    result = _label(_frame())
    assert result.novelty == 0.0
    assert result.flags == ()
