"""Hot pixels are told from speckles."""

from __future__ import annotations

import math

import numpy as np
import pytest

from simulated_devices import grid_by_name
from speckle_plugin.frames.hot_pixels import find_hot_pixels, hot_pixel_advice
from speckle_plugin.preprocessing import FrameGeometry
from training.frames import draw_frame, generator
from training.recipe import FrameRecipe


def _frames(grid: str, family: str, photons: float | None) -> tuple[list[np.ndarray], FrameGeometry]:
    pixels = grid_by_name(grid, 257)
    geometry = FrameGeometry(pixels.shape, pixels.beam_center)
    recipe = FrameRecipe(families=(family,), photons=() if photons is None else (photons, photons))
    drawn = [draw_frame(recipe, n, generator(5, "hot", n), pixels, geometry).frame for n in (2, 7, 20)]
    return drawn, geometry


@pytest.mark.parametrize("grid", ["quadrant", "centered", "published"])
@pytest.mark.parametrize("photons", [None, 1e6, 1e4, 100.0])
def test_speckles_are_none(grid: str, photons: float | None) -> None:
    frames, geometry = _frames(grid, "poly", photons)
    assert not find_hot_pixels(frames, geometry).any()
    assert hot_pixel_advice(frames, geometry) == ""


@pytest.mark.parametrize("photons", [None, 1e6, 1e4])
def test_twenty_hot_pixels_are_found_and_the_mask_is_named(photons: float | None) -> None:
    frames, geometry = _frames("quadrant", "mono", photons)
    rng = np.random.default_rng(0)
    hot = np.zeros(geometry.shape, bool)
    hot.reshape(-1)[rng.choice(np.arange(20_000, hot.size), 20, replace=False)] = True
    spoilt = [np.where(hot, frame.max(), frame) for frame in frames]
    assert math.isclose((find_hot_pixels(spoilt, geometry) & hot).sum(), 20, abs_tol=2)
    assert not (find_hot_pixels(spoilt, geometry) & ~hot).any()
    assert "leave them out by a mask" in hot_pixel_advice(spoilt, geometry)
    masked = FrameGeometry(geometry.shape, geometry.beam_center, hot)
    assert hot_pixel_advice(spoilt, masked) == ""


def test_a_cosmic_ray_in_one_frame_is_none() -> None:
    frames, geometry = _frames("quadrant", "mono", 1e6)
    frames[0][100:110:3, 100] = 1e9
    assert hot_pixel_advice(frames, geometry) == ""


def test_empty_frames_and_frames_of_nothing_finite() -> None:
    geometry = FrameGeometry((64, 64))
    assert hot_pixel_advice([np.zeros((64, 64)), np.full((64, 64), np.nan)], geometry) == ""
