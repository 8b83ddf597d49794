"""Statistics of the spots of Patterson maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import DiskSystem, draw_system, intensity, quadrant
from speckle_plugin.network.trust import views_of
from speckle_plugin.network.trust.kernels import map_heights
from speckle_plugin.network.trust.spots import BINS, RANGE, RANKS, SOFTNESS, SPOTS, bin_table, frame_spots
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing

SETTINGS = Preprocessing(crop=129, intensity="patterson", radial_rows=64)
GEOMETRY = FrameGeometry((257, 257))
NEAR = 24.0


def spots(
    frame: NDArray[np.floating], geometry: FrameGeometry = GEOMETRY, near: float = NEAR
) -> dict[str, NDArray[np.float32]]:
    views = views_of(geometry, SETTINGS, 257)
    (found,) = frame_spots(frame.astype(np.float32), views, SETTINGS, near)
    return dict(zip(SPOTS, np.split(found, np.cumsum(list(SPOTS.values()))[:-1]), strict=True))


def heights_by_rank(found: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(found[2 * BINS : 2 * BINS + len(RANKS)])


def poly(number: int, seed: int = 5) -> NDArray[np.float64]:
    return intensity(draw_system("poly", number, np.random.default_rng(seed)), quadrant())


def test_points_and_peaks_are_counted_as_in_plain_words() -> None:
    values = np.random.default_rng(2).normal(size=(30, 40)).astype(np.float32)
    table = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32) >= 1.0
    points, peaks, heights = map_heights(values, np.float32(2.0), 6.0, table.astype(np.int16))
    expected: list[float] = []
    counted = np.zeros(2, int)
    for i in range(30):
        for j in range(40):
            if i * i + j * j <= 36:
                continue
            counted[int(values[i, j] * 2.0 >= 1.0)] += 1
            around = [
                values[abs(i + a), abs(j + b)]
                for a in (-1, 0, 1)
                for b in (-1, 0, 1)
                if (a or b) and i + a < 30 and j + b < 40
            ]
            if i < 29 and j < 39 and values[i, j] > 0 and values[i, j] > max(around):
                expected.append(2.0 * values[i, j])
    np.testing.assert_array_equal(points, counted)
    np.testing.assert_allclose(np.sort(heights), np.sort(expected), rtol=1e-6)
    assert peaks.sum() == len(heights) and peaks[1] == (heights >= 1.0).sum()


@pytest.mark.parametrize("number", [3, 6, 9])
def test_equal_disks_far_apart_give_a_spot_for_each_pair(number: int) -> None:
    # On a Golomb ruler along both axes no two pairs have the same distance.
    marks = np.array([0, 1, 5, 12, 25, 27, 35, 41, 44])[:number]
    positions = 100.0 + np.stack([marks, np.roll(marks, number // 2)], axis=1) * 40.0
    frame = intensity(DiskSystem(positions, np.full(number, 14.0)), quadrant())
    ranked = heights_by_rank(spots(frame, near=4.0)["normalized"])
    pairs = number * (number - 1) // 2
    last, after = (ranked[int(np.searchsorted(RANKS, rank))] for rank in (pairs - 1, pairs + number))
    assert last > 2.0 * after


@pytest.mark.parametrize("photons", [0.0, 1e5])
def test_spots_do_not_depend_on_the_gain(photons: float) -> None:
    frame = poly(7)
    if photons:
        frame = np.random.default_rng(1).poisson(frame * photons / frame.sum()).astype(float)
    one, other = spots(frame), spots(frame * 8.0)
    for name in SPOTS:
        np.testing.assert_allclose(other[name], one[name], atol=1e-4)


def test_a_mask_of_few_pixels_changes_little() -> None:
    mask = np.random.default_rng(3).random((257, 257)) < 0.01
    frame = poly(6)
    hidden = np.where(mask, np.nan, frame)
    whole, masked = spots(frame), spots(hidden, FrameGeometry((257, 257), mask=mask))
    for name in SPOTS:
        assert np.isfinite(masked[name]).all()
        pairs = RANKS < 15
        one, other = (heights_by_rank(each[name])[pairs] for each in (whole, masked))
        np.testing.assert_allclose(other, one, rtol=0.1)


def test_a_dark_frame_has_numbers_too() -> None:
    for found in spots(np.zeros((257, 257))).values():
        np.testing.assert_array_equal(found, np.zeros_like(found))


def test_heights_outside_of_the_range_are_in_the_last_bins() -> None:
    values = np.array([[1.0, -1.0, 5.0], [0.0, 0.5, -0.001]], np.float32)
    points, _, _ = map_heights(values, np.float32(1.0 / SOFTNESS), 0.0, bin_table())
    assert points.sum() == 5  # the origin itself does not count
    assert points[-1] == 1 and points[0] == 1
    assert RANGE[0] < 0 < RANGE[1]
