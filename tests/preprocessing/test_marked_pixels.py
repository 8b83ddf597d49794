"""Pixels that detectors mark as without a value are left out as masked ones are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.marked_pixels import marked_pixels, without_marked_pixels
from speckle_plugin.schema import Flag

GAPS = np.zeros((257, 257), bool)
GAPS[:, 100:108] = GAPS[180:190] = GAPS[33, 44] = True


def _frame(dtype: Any, level: int = 100, size: int = 64) -> NDArray[Any]:
    return np.random.default_rng(0).poisson(level, (size, size)).astype(dtype)


@pytest.mark.parametrize(
    ("reason", "dtype", "background", "value", "is_mark"),
    [
        ("an Eiger of 32 bits", np.uint32, 100, 2**32 - 1, True),
        ("an Eiger of 16 bits", np.uint16, 100, 2**16 - 1, True),
        ("of 8 bits", np.uint8, 20, 255, True),
        ("an Eiger of 64 bits", np.uint64, 100, 2**64 - 1, True),
        ("a sensor near its end", np.uint16, 50_000, 2**16 - 1, False),
        ("one below the end", np.uint16, 100, 2**16 - 2, False),
        ("the gap of a Pilatus", np.int32, 100, -1, True),
        ("its dead pixel", np.int32, 100, -2, True),
        ("below what a Pilatus marks", np.int32, 100, -3, False),
        ("the largest signed number", np.int32, 100, 2**31 - 1, False),
        ("floating point", np.float32, 100, -1, False),
    ],
)
def test_what_is_a_mark(reason: str, dtype: Any, background: int, value: int, is_mark: bool) -> None:
    frame = _frame(dtype, background)
    assert marked_pixels(frame) is None
    frame[3, 5:9] = value
    marked = marked_pixels(frame)
    if is_mark:
        assert marked is not None
        np.testing.assert_array_equal(np.argwhere(marked), [[3, column] for column in range(5, 9)])
    else:
        assert marked is None


def test_counts_below_zero_after_subtracting_a_dark_frame_are_no_marks() -> None:
    frame = _frame(np.int32, 1) - 1
    assert frame.min() == -1
    assert marked_pixels(frame) is None


def test_frames_marked_alike_share_a_geometry() -> None:
    settings = find_bundle().preprocessing
    geometry = FrameGeometry((257, 257))
    one, two = (_frame(np.uint32, level, 257) for level in (100, 200))
    assert without_marked_pixels(one, geometry, settings) is geometry
    one[GAPS] = two[GAPS] = 2**32 - 1
    masked = without_marked_pixels(one, geometry, settings)
    assert masked is without_marked_pixels(two, geometry, settings)
    assert masked.mask is not None
    np.testing.assert_array_equal(masked.mask, GAPS)
    user = np.zeros((257, 257), bool)
    user[200:, 200:] = True
    both = without_marked_pixels(one, FrameGeometry((257, 257), mask=user), settings)
    assert both.mask is not None
    np.testing.assert_array_equal(both.mask, GAPS | user)
    assert without_marked_pixels(np.full((257, 257), 2**32 - 1, np.uint32), geometry, settings) is geometry
    assert without_marked_pixels(one[:9], geometry, settings) is geometry


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier("quadrant", "openvino")


NUMBERS = (2, 5, 9, 14)


@pytest.mark.parametrize(
    ("dtype", "value", "flags"),
    [
        (np.uint32, 2**32 - 1, set()),
        (np.int32, -1, set()),
        (np.int32, -2, set()),
        # In a type of few bits nothing tells a mark from a saturated pixel.
        (np.uint16, 2**16 - 1, {Flag.SATURATED}),
    ],
)
def test_labels_are_right_and_those_of_a_mask(
    classifier: Classifier, dtype: Any, value: int, flags: set[Flag]
) -> None:
    rng = np.random.default_rng(4)
    frames = []
    for number in NUMBERS:
        pattern = intensity(draw_system("mono", number, rng), quadrant(257))
        pattern[:6, :6] = 0.0
        frames.append((pattern / pattern.max() * 30_000).astype(dtype))
    masked = classifier.label(frames, FrameGeometry((257, 257), mask=GAPS))
    assert [result.disk_number for result in masked] == list(NUMBERS)
    for frame in frames[1:]:  # the first has no marks, and is classified beside the others
        frame[GAPS] = value
    marked = classifier.label(frames, FrameGeometry((257, 257)))
    assert [result.disk_number for result in marked] == list(NUMBERS)
    for one, other in zip(marked[1:], masked[1:], strict=True):
        np.testing.assert_allclose(one.probabilities, other.probabilities, atol=0.02)
        assert set(one.flags) - {Flag.OUT_OF_DISTRIBUTION} == flags
