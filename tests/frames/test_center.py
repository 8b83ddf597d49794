"""The beam by the inversion symmetry of frames: to a tenth of a pixel, and never a wrong alarm."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import PixelGrid, draw_system, intensity
from speckle_plugin.frames.center import center_disagrees, find_center

MASK = np.zeros((257, 257), bool)
MASK[120:137] = MASK[:, 60:70] = MASK[118:140, 118:140] = True
"""A beam stop with its holder, and a gap between modules."""

FAMILIES = ("mono", "poly", "constant_radius")


def frame(
    disk_number: int, center: tuple[float, float], photons: float | None, seed: int = 0, family: str = "poly"
) -> NDArray[np.number]:
    rng = np.random.default_rng([seed, disk_number])
    pattern = intensity(draw_system(family, disk_number, rng), PixelGrid((257, 257), math.pi / 2000, center))
    if photons is None:
        return pattern
    return rng.poisson(pattern / pattern.sum() * photons).astype(np.uint32)


@pytest.mark.parametrize("photons", [None, 1e7, 1e6, 1e5])
@pytest.mark.parametrize("is_masked", [False, True])
@pytest.mark.parametrize("disk_number", [2, 3, 7, 20])
def test_a_tenth_of_a_pixel(photons: float | None, is_masked: bool, disk_number: int) -> None:
    center = 131.37 - disk_number, 118.81
    pixels = frame(disk_number, center, photons, family=FAMILIES[disk_number % 3])
    found = find_center(pixels, MASK if is_masked else None)
    assert (found.row, found.column) == pytest.approx(center, abs=0.1)
    assert 0 < found.uncertainty < 0.2
    assert found.symmetry > 0.9


def test_few_photons() -> None:
    found = find_center(frame(7, (120.3, 140.6), 1e4))
    assert (found.row, found.column) == pytest.approx((120.3, 140.6), abs=0.3)


def test_pixels_that_the_detector_marks_do_no_harm() -> None:
    pixels = frame(5, (120.3, 140.6), 1e6)
    pixels[MASK] = 2**32 - 1
    found = find_center(pixels)
    assert (found.row, found.column) == pytest.approx((120.3, 140.6), abs=0.1)
    broken = frame(5, (120.3, 140.6), None)
    broken[MASK] = np.nan
    found = find_center(broken)
    assert (found.row, found.column) == pytest.approx((120.3, 140.6), abs=0.1)


def test_a_frame_of_another_shape_and_size() -> None:
    """Larger ones are searched binned; the beam is near a corner."""
    rng = np.random.default_rng(3)
    grid = PixelGrid((1100, 700), math.pi / 2000, (830.4, 201.7))
    found = find_center(intensity(draw_system("poly", 6, rng), grid))
    assert (found.row, found.column) == pytest.approx((830.4, 201.7), abs=0.1)


@pytest.mark.parametrize(
    ("pixels", "message"),
    [
        (frame(5, (0.0, 0.0), None), "no centre of symmetry"),  # nothing is opposite
        (np.random.default_rng(0).poisson(5.0, (64, 64)), "no centre of symmetry"),
        (np.zeros((64, 64)), "the frame is empty"),
        (np.full((64, 64), np.nan), "the frame is empty"),
        (np.ones((64, 20)), "at least 32 pixels a side"),
        (np.ones((64, 64), complex), "real numbers"),
    ],
)
def test_frames_without_an_answer(pixels: NDArray[np.generic], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        find_center(pixels)
    assert center_disagrees(pixels, (10.0, 10.0)) is None


@pytest.mark.parametrize("seed", range(12))
def test_a_given_centre_is_contradicted_only_if_it_is_wrong(seed: int) -> None:
    photons = (None, 1e7, 1e6, 1e5)[seed % 4]
    center = 128 + 2.5 * seed - 13, 128.4 - 2 * seed
    pixels = frame(2 + seed, center, photons, seed, FAMILIES[seed % 3])
    mask = MASK if seed % 2 else None
    assert center_disagrees(pixels, center, mask) is None
    for off in ((3, 0), (0, -3), (-3, 3)):
        found = center_disagrees(pixels, (center[0] + off[0], center[1] + off[1]), mask)
        assert found is not None and (found.row, found.column) == pytest.approx(center, abs=1.0)
    x_and_y = center_disagrees(pixels, (center[1], center[0]), mask)
    assert (x_and_y is None) == (abs(center[0] - center[1]) <= 2.0)
    assert center_disagrees(frame(2 + seed, (0.0, 0.0), photons, seed), (0.0, 0.0)) is None


@pytest.mark.slow
def test_error_rates_over_a_thousand_frames() -> None:
    """What :data:`speckle_plugin.frames.center.SYMMETRY_TO_DISAGREE` says."""
    rng = np.random.default_rng(17)
    wrong = missed = corners = 0
    for seed in range(1000):
        photons = (None, 1e7, 1e6, 1e5)[seed % 4]
        center = 128 + rng.uniform(-30, 30), 128 + rng.uniform(-30, 30)
        pixels = frame(2 + seed % 19, center, photons, 1000 + seed, FAMILIES[seed % 3])
        mask = MASK if seed % 5 == 0 else None
        wrong += center_disagrees(pixels, center, mask) is not None
        missed += center_disagrees(pixels, (center[0] - 3, center[1]), mask) is None
        corner = frame(2 + seed % 19, (0.0, 0.0), photons, 1000 + seed, FAMILIES[seed % 3])
        corners += center_disagrees(corner, (0.0, 0.0)) is not None
    assert (wrong, corners) == (0, 0)
    assert missed <= 10


def test_the_frames_that_the_authors_published(published_frames: dict[str, NDArray[Any]]) -> None:
    for pixels in published_frames["frames"]:
        found = find_center(pixels)
        assert (found.row, found.column) == pytest.approx((128.0, 128.0), abs=0.05)
        assert center_disagrees(pixels, (128.0, 128.0)) is None
        assert center_disagrees(pixels, (131.0, 128.0)) is not None
