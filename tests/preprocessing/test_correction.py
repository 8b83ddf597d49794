"""Dark frames are subtracted, flat fields divided by, and pixels that see no light are left out."""

from __future__ import annotations

import numpy as np
import pytest

from speckle_plugin.frames.correction_frames import correct_by
from speckle_plugin.preprocessing import Correction, FrameGeometry
from speckle_plugin.schema import Flag

LIGHT = np.array([[10.0, 20.0], [30.0, 0.0]])
"""What falls on the pixels."""
GAIN = np.array([[1.0, 0.5], [2.0, 0.0]])
DARK = np.array([[3, 4], [5, 6]])


def test_the_light_comes_back() -> None:
    frame = (LIGHT * GAIN + DARK).astype(np.uint16)
    correction = Correction(DARK.astype(np.float32), (100 * GAIN + DARK).astype(np.float32))
    mean = GAIN[GAIN > 0].mean()
    np.testing.assert_allclose(correction(frame), LIGHT * mean, rtol=1e-6)
    np.testing.assert_array_equal(correction.blind, GAIN == 0)


def test_a_dark_frame_alone_and_a_flat_field_alone() -> None:
    np.testing.assert_array_equal(Correction(DARK.astype(np.float32))(DARK), np.zeros((2, 2)))
    even = Correction(light=np.full((2, 2), 7.0, np.float32))
    np.testing.assert_array_equal(even(LIGHT), LIGHT)
    assert even.blind is None


def test_blind_pixels_join_the_mask_once() -> None:
    correction = Correction(light=GAIN.astype(np.float32))
    geometry = FrameGeometry((2, 2), (0.0, 0.0), np.array([[True, False], [False, False]]))
    found = correction.without_blind(geometry)
    np.testing.assert_array_equal(found.mask, [[True, False], [False, True]])
    assert correction.without_blind(geometry) is found, "or the network's tables would be made anew"
    other = FrameGeometry((3, 3))
    assert correction.without_blind(other) is other


def test_frames_are_averaged_and_what_has_no_value_does_not_count() -> None:
    nowhere = np.array([[4.0, np.nan], [4.0, 4.0]])
    corrected = correct_by([np.full((2, 2), 2), OSError("lost"), np.full((2, 2), 4)], [nowhere], (2, 2))
    assert corrected.flags == () and corrected.correction is not None
    np.testing.assert_array_equal(corrected.correction.dark, np.full((2, 2), 3))
    np.testing.assert_array_equal(corrected.correction.blind, [[False, True], [False, False]])


@pytest.mark.parametrize(
    ("frames", "why"),
    [([], "none before it"), ([OSError("lost")], "lost"), ([np.ones((3, 2))], "the shape (3, 2)")],
)
def test_what_lacks_is_flagged_with_a_reason(frames: list[np.ndarray | OSError], why: str) -> None:
    corrected = correct_by(frames, frames, (2, 2))
    assert corrected.flags == (Flag.NO_DARK, Flag.NO_FLAT) and corrected.correction is None
    assert corrected.problem.count(why) == 2
    assert correct_by(None, None, (2, 2)).flags == ()
