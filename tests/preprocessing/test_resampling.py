"""Frames of another k step are brought to the network's, about the beam, around masked pixels."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import PixelGrid, draw_system, intensity
from speckle_plugin.network import find_bundle
from speckle_plugin.preprocessing import FrameGeometry, prepare
from speckle_plugin.preprocessing.resampling import resampling_to

SETTINGS = find_bundle("quadrant").preprocessing
K_STEP = np.pi / 2000


@pytest.mark.parametrize("factor", [0.75, 0.9, 1.1, 1.25])
@pytest.mark.parametrize("center", [(0.0, 0.0), (120.3, 99.6), (-0.4, 3.0)])
def test_a_wave_stays_a_wave(factor: float, center: tuple[float, float]) -> None:
    """At each new pixel stands what is there by its distance from the beam, as for a pair of disks."""
    geometry = FrameGeometry((257, 240), center)

    def wave(rows: NDArray[Any], columns: NDArray[Any]) -> NDArray[Any]:
        return 3.0 + np.cos(1.3 * rows) * np.cos(0.9 * columns)

    rows, columns = np.indices(geometry.shape)
    resampling = resampling_to(K_STEP, K_STEP * factor, geometry, SETTINGS)
    assert resampling is not None
    new = resampling.geometry
    assert all(float(at).is_integer() for at in new.beam_center)
    new_rows, new_columns = np.indices(new.shape)
    wanted = wave((new_rows - new.beam_center[0]) / factor, (new_columns - new.beam_center[1]) / factor)
    got = resampling(wave(rows - center[0], columns - center[1]))
    inner = np.s_[5:-5, 5:-5]  # at the edge the kernel is cut
    np.testing.assert_allclose(got[inner], wanted[inner], atol=0.05)


@pytest.mark.parametrize("factor", [0.8, 1.2])
def test_the_network_sees_nearly_the_same(factor: float) -> None:
    """As if the detector had the network's k step; much nearer than without resampling."""
    system = draw_system("poly", 6, np.random.default_rng(3))
    grid = PixelGrid((257, 257), K_STEP, (0.0, 0.0))
    wanted = prepare(intensity(system, grid), SETTINGS, FrameGeometry(grid.shape))
    frame = intensity(system, replace(grid, pitch=K_STEP * factor))
    resampling = resampling_to(K_STEP, K_STEP * factor, FrameGeometry(grid.shape), SETTINGS)
    assert resampling is not None
    got = prepare(resampling(frame), SETTINGS, resampling.geometry)
    raw = prepare(frame, SETTINGS, FrameGeometry(grid.shape))
    assert got.shape == wanted.shape
    assert np.abs(got - wanted).mean() < 0.5 * np.abs(raw - wanted).mean()


def test_masked_pixels_have_no_part() -> None:
    mask = np.zeros((257, 257), bool)
    mask[40:44] = mask[:, 90] = True
    geometry = FrameGeometry(mask.shape, (0.0, 0.0), mask)
    frame = np.where(mask, 1e9, 7.0)
    frame[41, 3] = np.nan
    resampling = resampling_to(K_STEP, 1.2 * K_STEP, geometry, SETTINGS)
    assert resampling is not None and resampling.geometry.mask is not None
    new = resampling(frame)
    np.testing.assert_allclose(new[~resampling.geometry.mask], 7.0, rtol=1e-5)
    assert 0 < resampling.geometry.mask.mean() < 0.1


@pytest.mark.parametrize("factor", [1.0, 1.005, 1.31, 0.69])
def test_k_steps_that_are_the_same_or_too_far(factor: float) -> None:
    assert resampling_to(K_STEP, factor * K_STEP, FrameGeometry((257, 257)), SETTINGS) is None


def test_too_little_of_a_frame() -> None:
    assert resampling_to(K_STEP, 0.75 * K_STEP, FrameGeometry((40, 40)), SETTINGS) is None
