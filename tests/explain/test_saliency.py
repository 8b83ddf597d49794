"""Explanations by the default network: against finite differences, and against what is known of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.explain.picture import explanation_picture
from speckle_plugin.explain.saliency import Explanation, explain, network_of
from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare, usable_pixels


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return find_bundle()


@pytest.fixture(scope="module")
def frame() -> NDArray[np.float32]:
    return intensity(draw_system("mono", 6, np.random.default_rng(7)), quadrant(257)).astype(np.float32)


@pytest.fixture(scope="module")
def explanation(bundle: Bundle, frame: NDArray[np.float32]) -> Explanation:
    return explain(bundle, frame, FrameGeometry(frame.shape))


def test_it_explains_what_the_classifier_says(
    bundle: Bundle, frame: NDArray[np.float32], explanation: Explanation
) -> None:
    geometry = FrameGeometry(frame.shape)
    posterior = Classifier(bundle, "openvino").classify(frame, geometry)
    assert explanation.disk_number == explanation.result.disk_number == posterior.disk_number[0] == 6
    np.testing.assert_allclose(explanation.result.probabilities, posterior.probabilities[0], atol=0.02)
    assert explanation.probability == pytest.approx(explanation.result.confidence)
    np.testing.assert_array_equal(explanation.inputs, prepare(frame, bundle.preprocessing, geometry)[0])


def test_saliency_lies_on_pixels_that_are_seen_and_adds_up_to_zero(
    bundle: Bundle, frame: NDArray[np.float32], explanation: Explanation
) -> None:
    seen = usable_pixels(FrameGeometry(frame.shape), bundle.preprocessing)
    assert explanation.saliency.shape == frame.shape
    assert (explanation.saliency[~seen] == 0).all()
    total = np.abs(explanation.saliency).sum()
    assert total > 0
    assert abs(explanation.saliency.sum()) < 1e-3 * total


def test_grad_cam_is_the_class_activation_map(bundle: Bundle, explanation: Explanation) -> None:
    """Behind average pooling Grad-CAM is the weighted sum of maps of Zhou et al., arXiv:1512.04150."""
    _, _, maps = network_of(bundle).whole(explanation.inputs[..., None], training=False)
    column = bundle.classes.index(explanation.disk_number)
    (kernel,) = (w for path, w in bundle.weights.items() if path.endswith("logits/kernel"))
    points = maps.shape[1] * maps.shape[2]
    cam = np.maximum(np.asarray(maps) @ kernel[:, column], 0.0) / (points * bundle.temperature)
    assert explanation.grad_cam.shape == explanation.inputs.shape
    # Interpolated linearly, the maximum stays below that of the coarse map, and the mean is about kept.
    assert 0 < explanation.grad_cam.max() <= cam.max() * 1.001
    assert explanation.grad_cam.min() >= 0
    assert explanation.grad_cam.mean() == pytest.approx(cam.mean(), rel=0.1)
    peak = np.unravel_index(explanation.grad_cam[0].argmax(), explanation.inputs.shape[1:])
    coarse = np.unravel_index(cam[0].argmax(), cam.shape[1:])
    cells = np.array(explanation.inputs.shape[1:]) / cam.shape[1:]
    assert (np.abs((np.array(peak) + 0.5) / cells - np.array(coarse) - 0.5) <= 0.6).all()


def test_masked_pixels_may_hold_anything(bundle: Bundle, frame: NDArray[np.float32]) -> None:
    mask = np.zeros(frame.shape, bool)
    mask[30:34] = True
    spoiled = np.where(mask, np.nan, frame)
    found = explain(bundle, spoiled, FrameGeometry(frame.shape, mask=mask))
    assert np.isfinite(found.saliency).all()
    assert (found.saliency[mask] == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros((257, 257)),), "no label to explain, being empty"),
        ((np.full((257, 257), np.nan),), "no label to explain, being non_finite"),
        ((np.ones((9, 9)),), "no label to explain, being wrong_shape"),
        ((np.ones((257, 257)), 99), "does not know the disk number 99: choose among 2, 3, "),
    ],
)
def test_what_cannot_be_explained(bundle: Bundle, arguments: tuple, message: str) -> None:
    values, *number = arguments
    with pytest.raises(ValueError, match=message):
        explain(bundle, values, FrameGeometry((257, 257)), *number)


def test_two_views_of_patterson_maps(bundle: Bundle) -> None:
    """The saliency is the slope of the score, through both maps; and the picture says distances."""
    settings = Preprocessing(intensity="patterson", crop=33)
    tuned = replace(bundle, preprocessing=settings, temperature=2.0)
    geometry = FrameGeometry((65, 65), (32.0, 32.0))
    rng = np.random.default_rng(8)
    frame = rng.exponential(100.0, geometry.shape).astype(np.float32)
    found = explain(tuned, frame, geometry, 9, k_step=0.01)
    assert found.inputs.shape == found.grad_cam.shape == (2, 33, 33)
    assert found.disk_number == 9
    index = bundle.classes.index(9)

    def score(factors: NDArray[np.float64]) -> float:
        logits = network_of(tuned).run(prepare(frame * factors, settings, geometry)[0]).logits
        return float(logits[:, index].astype(np.float64).sum()) / 2.0

    direction = np.sign(found.saliency) * rng.random(frame.shape)
    slope = (score(1 + 2e-3 * direction) - score(1 - 2e-3 * direction)) / 4e-3
    assert (found.saliency * direction).sum() == pytest.approx(slope, rel=0.03)

    figure = explanation_picture(found, frame, settings, geometry, 0.01, "a title")
    assert "a title: 9 disks" in figure.get_suptitle()
    axes = [a for a in figure.axes if a.images]
    assert len(axes) == 6
    names = [a.get_xlabel() for a in axes]
    assert names[:2] == ["column (pixels)"] * 2
    assert all("distance between disks" in name for name in names[2:])
    # 33 points reach to pi / k step; half a spacing stands out on either side.
    assert axes[2].get_xlim() == pytest.approx((-np.pi / 0.64, np.pi / 0.01 + np.pi / 0.64))
