"""Statistics of the spots of Patterson maps."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import DiskSystem, centered, draw_system, intensity, quadrant
from speckle_plugin.network.trust import frame_statistics, views_of
from speckle_plugin.network.trust.kernels import map_heights
from speckle_plugin.network.trust.spots import (
    BINS,
    RANGE,
    RANKS,
    SOFTNESS,
    SPOTS,
    SpotMaps,
    bin_table,
    frame_spots,
    whole_map,
)
from speckle_plugin.network.trust.statistics import STATISTICS
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare
from speckle_plugin.preprocessing.patterson import fill_view, pixel_weights

SETTINGS = Preprocessing(crop=129, intensity="patterson", radial_rows=64)
GEOMETRY = FrameGeometry((257, 257))
MAPS = SpotMaps(257, 24.0, 257)


def spots(
    frame: NDArray[np.floating], geometry: FrameGeometry = GEOMETRY, maps: SpotMaps = MAPS
) -> dict[str, NDArray[np.float32]]:
    views = views_of(geometry, SETTINGS, 257)
    frame = frame.astype(np.float32)
    statistics = frame_statistics(frame, prepare(frame, SETTINGS, geometry)[0], views)
    (found,) = frame_spots(frame, statistics, geometry, SETTINGS, maps)
    return dict(zip(SPOTS, np.split(found, np.cumsum(list(SPOTS.values()))[:-1]), strict=True))


def heights_by_rank(found: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.exp(found[2 * BINS : 2 * BINS + len(RANKS)])


def poly(number: int, seed: int = 5) -> NDArray[np.float64]:
    return intensity(draw_system("poly", number, np.random.default_rng(seed)), quadrant())


def test_points_and_peaks_are_counted_as_in_plain_words() -> None:
    rows, middle, near = 30, 20, 6.0
    values = np.random.default_rng(2).normal(size=(rows, 2 * middle + 1)).astype(np.float32)
    values[0, :middle] = values[0, :middle:-1]  # each distance and its opposite
    table = (np.arange(1 << 16, dtype=np.uint32) << 16).view(np.float32) >= 1.0
    points, peaks, heights = map_heights(values, middle, np.float32(2.0), near, table.astype(np.int16))
    whole = {(i, j - middle): float(v) for (i, j), v in np.ndenumerate(values)}
    whole |= {(-i, -j): v for (i, j), v in whole.items()}
    expected: list[float] = []
    counted = np.zeros(2, int)
    for (i, j), v in whole.items():
        if i < 0 or (i == 0 and j < 0) or i * i + j * j <= near**2:
            continue
        counted[int(v * 2.0 >= 1.0)] += 1
        around = [whole.get((i + a, j + b)) for a in (-1, 0, 1) for b in (-1, 0, 1) if a or b]
        seen = [other for other in around if other is not None]
        if len(seen) == 8 and v > 0 and v > max(seen):
            above, left, right, below = (seen[place] for place in (1, 3, 4, 6))
            tops = (_parabola_top(above, v, below), _parabola_top(left, v, right))
            expected.append(2.0 * (sum(tops) - v))
    np.testing.assert_array_equal(points, counted)
    np.testing.assert_allclose(np.sort(heights), np.sort(expected), rtol=1e-5)
    assert peaks.sum() == len(heights) and peaks[1] == (heights >= 1.0).sum()


def _parabola_top(before: float, middle: float, after: float) -> float:
    a, b, c = np.polyfit([-1.0, 0.0, 1.0], [before, middle, after], 2)
    return float(c - b**2 / (4.0 * a))


@pytest.mark.parametrize("maps", [SpotMaps(33, 3.0, 33), SpotMaps(17, 3.0, 30, 4, 2)])
def test_a_map_is_the_sum_of_waves(maps: SpotMaps) -> None:
    rows = maps.rows
    rng = np.random.default_rng(0)
    quadrants = [rng.random((rows, rows)).astype(np.float32) for _ in range(maps.quadrants)]
    for values in quadrants:
        values[-1], values[:, -1] = 0.0, 0.0  # as the taper leaves it
    places, i = np.arange(1 - maps.points, maps.points), np.arange(rows)
    step = np.pi / (maps.oversampling * (rows - 1))
    on_axes = np.outer(np.where(i == 0, 0.5, 1.0), np.where(i == 0, 0.5, 1.0))
    along, across = (
        np.exp(1j * step * np.outer(places[maps.points - 1 :], i)),
        np.exp(1j * step * np.outer(i, places)),
    )
    sums = along @ (quadrants[0] * on_axes) @ across
    if maps.quadrants == 2:
        sums = sums + along @ (quadrants[1] * on_axes) @ across.conj()
    np.testing.assert_allclose(whole_map(quadrants, maps), 4.0 * sums.real, rtol=1e-4, atol=1e-3)


def test_both_quadrants_tell_which_way_a_pair_lies() -> None:
    system = DiskSystem(np.array([[400.0, 500.0], [1200.0, 900.0]]), np.full(2, 40.0))
    frame = intensity(system, centered(257)).astype(np.float32)
    views = views_of(FrameGeometry((257, 257), (128.0, 128.0)), SETTINGS, 129)
    maps = SpotMaps(129, 12.0, 129, 1, 2)
    weighted = [v.quadrant.average(frame) for v in views]
    both = []
    for pixels, view in zip(weighted, views, strict=True):
        both.append(np.zeros(view.quadrant.valid.shape, np.float32))
        fill_view(both[-1], pixels, view.quadrant, SETTINGS)
        both[-1] *= pixel_weights(129, 129, SETTINGS)[0]
    found = whole_map(both, maps)
    row, column = (round(d / (2000.0 / 128)) for d in (800.0, 400.0))
    there, mirrored = found[row, 128 + column], found[row, 128 - column]
    assert there > 0.8 * found[12:, :].max() and abs(mirrored) < 0.2 * there


@pytest.mark.parametrize("number", [3, 6, 9])
def test_equal_disks_far_apart_give_a_spot_for_each_pair(number: int) -> None:
    # On a Golomb ruler along both axes no two pairs have the same distance.
    marks = np.array([0, 1, 5, 12, 25, 27, 35, 41, 44])[:number]
    positions = 100.0 + np.stack([marks, np.roll(marks, number // 2)], axis=1) * 40.0
    frame = intensity(DiskSystem(positions, np.full(number, 14.0)), quadrant())
    ranked = heights_by_rank(spots(frame, maps=SpotMaps(257, 4.0, 257))["normalized"])
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
        pairs = RANKS < 14  # the weakest one of 15 is among the tails of the others
        one, other = (heights_by_rank(each[name])[pairs] for each in (whole, masked))
        np.testing.assert_allclose(other, one, rtol=0.1)


def test_a_dark_frame_has_numbers_too() -> None:
    for found in spots(np.zeros((257, 257))).values():
        np.testing.assert_array_equal(found, np.zeros_like(found))


def test_light_that_is_next_to_none_is_none() -> None:
    """The faintest numbers that there are, as tails of a blurred frame have, do not spoil the rest."""
    frame = poly(6)
    far = np.hypot(*np.indices(frame.shape)) > 250.0
    dark, faint = (np.where(far, value, frame).astype(np.float32) for value in (0.0, 1e-40))
    of_dark, of_faint = spots(dark), spots(faint)
    for name in SPOTS:
        np.testing.assert_allclose(of_faint[name], of_dark[name], atol=1e-5)
    views = views_of(GEOMETRY, SETTINGS, 257)
    ends = np.cumsum(list(STATISTICS.values()))[:-1]
    first, second = (
        dict(zip(STATISTICS, np.split(frame_statistics(f, inputs, views), ends), strict=True))
        for f in (dark, faint)
        for inputs in [prepare(f, SETTINGS, GEOMETRY)[0]]
    )
    for name in ("contrast", "angles", "slopes"):
        np.testing.assert_allclose(second[name], first[name], atol=1e-4)


def test_heights_outside_of_the_range_are_in_the_last_bins() -> None:
    values = np.array([[5.0, 1.0, 5.0], [-1.0, 0.5, -0.001]], np.float32)
    points, _, _ = map_heights(values, 1, np.float32(1.0 / SOFTNESS), 0.0, bin_table())
    assert points.sum() == 4  # neither the origin itself nor the other half of its row
    assert points[-1] == 1 and points[0] == 1
    assert RANGE[0] < 0 < RANGE[1]


def test_a_map_of_two_quadrants_takes_two() -> None:
    frame = poly(3).astype(np.float32)
    with pytest.raises(ValueError, match="does not have 2 quadrants of 257 rows"):
        frame_spots(frame, np.zeros(2, np.float32), GEOMETRY, SETTINGS, SpotMaps(257, 24.0, 257, 1, 2))
