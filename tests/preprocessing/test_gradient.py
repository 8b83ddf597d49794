"""The gradient by the frame against finite differences of `prepare`, and against what is known of it."""

from __future__ import annotations

import numpy as np
import pytest

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.preprocessing import (
    FrameGeometry,
    Preprocessing,
    map_spacing,
    prepare,
    usable_pixels,
    view_shape,
)
from speckle_plugin.preprocessing.gradient import vector_jacobian_product

STEP = 5e-3
"""Of the finite differences, relative to each pixel: `prepare` computes in float32."""

SETTINGS = {
    "log": Preprocessing(log_offset=0.1),  # so large that the offset's own gradient counts
    "linear": Preprocessing(intensity="linear", crop=40),
    "patterson": Preprocessing(intensity="patterson"),
    "patterson, radial average": Preprocessing(intensity="patterson", crop=40, radial_rows=3),
    "patterson, oversampled, radial average": Preprocessing(
        intensity="patterson", oversampling=2, crop=48, map_size=50, radial_rows=2
    ),
    "patterson, moments": Preprocessing(intensity="patterson", crop=40, radial_rows=3, moments=3),
    "patterson, oversampled, cut": Preprocessing(
        intensity="patterson", oversampling=2, crop=48, map_size=50, sharpening=1.0
    ),
}


def _masked(*shape: int) -> np.ndarray:
    mask = np.zeros(shape, bool)
    mask[12:20, 9:30] = True  # a module's gap
    mask[:, 33] = True  # a dead column
    return mask


GEOMETRIES = {
    "corner": FrameGeometry((48, 45)),
    "corner, masked": FrameGeometry((48, 45), mask=_masked(48, 45)),
    "centred": FrameGeometry((81, 79), (40.0, 39.0)),
    "off centre, masked": FrameGeometry((70, 75), (30.3, 40.0), _masked(70, 75)),
}


def _frame(geometry: FrameGeometry) -> np.ndarray:
    """Speckles that fall off with |k|, a few of them 0 or negative as after a dark frame's subtraction."""
    rng = np.random.default_rng(1)
    i, j = (np.arange(n) - c for n, c in zip(geometry.shape, geometry.beam_center, strict=True))
    frame = rng.exponential(1e3, geometry.shape) / (1.0 + np.hypot(i[:, None], j[None, :]) / 10)
    frame[rng.random(geometry.shape) < 0.02] = -50.0
    return frame


@pytest.mark.parametrize("geometry", GEOMETRIES.values(), ids=GEOMETRIES)
@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_it_is_the_slope_of_prepare(settings: Preprocessing, geometry: FrameGeometry) -> None:
    frame, rng = _frame(geometry), np.random.default_rng(2)
    gradient = rng.normal(size=(1, *view_shape(settings, geometry)))
    (pulled,) = vector_jacobian_product(gradient, frame, settings, geometry)
    seen = usable_pixels(geometry, settings)
    assert (pulled[~seen] == 0).all()
    ring = np.hypot(*(n - c for n, c in zip(np.indices(geometry.shape), geometry.beam_center, strict=True)))
    steps = rng.normal(size=frame.shape) * np.maximum(frame, 0.0) * STEP
    for part in (seen, seen & (ring < 15), seen & (ring > 25)):
        step = np.where(part, steps, 0.0)
        after, before = (prepare(frame + s, settings, geometry) for s in (step, -step))
        slope = float((gradient * (after.astype(np.float64) - before)).sum() / 2)
        scale = float(np.linalg.norm(pulled * step))
        assert float((pulled * step).sum()) == pytest.approx(slope, abs=3e-3 * scale)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_pixel_beside_a_gap_counts_for_the_gap_as_well(settings: Preprocessing) -> None:
    geometry = GEOMETRIES["corner, masked"]
    frame = _frame(geometry)
    gradient = np.random.default_rng(3).normal(size=(1, *view_shape(settings, geometry)))
    (pulled,) = vector_jacobian_product(gradient, frame, settings, geometry)
    for row, column in ((16, 8), (0, 20), (25, 25)):
        step = np.zeros_like(frame)
        step[row, column] = 0.05 * frame[row, column]
        after, before = (prepare(frame + s, settings, geometry) for s in (step, -step))
        slope = float((gradient * (after.astype(np.float64) - before)).sum() / 2)
        assert (pulled * step).sum() == pytest.approx(slope, rel=0.01, abs=5e-5)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_the_scale_of_a_frame_moves_nothing(settings: Preprocessing) -> None:
    geometry = GEOMETRIES["off centre, masked"]
    frames = np.stack([_frame(geometry), 2 * _frame(geometry)])
    gradient = np.random.default_rng(4).normal(size=(1, *view_shape(settings, geometry)))
    pulled = vector_jacobian_product(np.concatenate([gradient, gradient]), frames, settings, geometry)
    products = pulled * frames
    np.testing.assert_allclose(products.sum(axis=(1, 2)), 0.0, atol=1e-4 * np.abs(products).sum() / 2)
    np.testing.assert_allclose(products[1], products[0], atol=1e-5 * np.abs(products).max())


def test_masked_pixels_may_hold_anything() -> None:
    geometry, settings = GEOMETRIES["corner, masked"], SETTINGS["patterson"]
    frame = _frame(geometry)
    gradient = np.ones((1, *view_shape(settings, geometry)))
    gradient[..., ::3] = -1.0
    whole = vector_jacobian_product(gradient, frame, settings, geometry)
    frame[geometry.mask] = np.nan
    np.testing.assert_array_equal(vector_jacobian_product(gradient, frame, settings, geometry), whole)


@pytest.mark.parametrize("settings", SETTINGS.values(), ids=SETTINGS)
def test_a_constant_frame_has_a_finite_gradient(settings: Preprocessing) -> None:
    geometry = GEOMETRIES["corner"]
    gradient = np.random.default_rng(5).normal(size=(1, *view_shape(settings, geometry)))
    for value in (0.0, 3.0):
        frame = np.full(geometry.shape, value)
        assert np.isfinite(vector_jacobian_product(gradient, frame, settings, geometry)).all()


def test_gradients_of_another_shape() -> None:
    geometry = GEOMETRIES["corner"]
    with pytest.raises(ValueError, match=r"expected gradients of the shape \(1, 1, 48, 45\)"):
        vector_jacobian_product(np.ones((1, 1, 45, 48)), np.ones((48, 45)), Preprocessing(), geometry)
    with pytest.raises(ValueError, match=r"expected frames of \(48, 45\) pixels"):
        vector_jacobian_product(np.ones((1, 1, 48, 45)), np.ones((45, 48)), Preprocessing(), geometry)


def test_a_pair_of_disks_is_a_spot_at_its_distance() -> None:
    rng, grid = np.random.default_rng(6), quadrant(129)
    settings = Preprocessing(intensity="patterson")
    geometry = FrameGeometry(grid.shape)
    system = draw_system("mono", 2, rng)
    view = prepare(intensity(system, grid), settings, geometry)[0, 0]
    distances = np.abs(system.positions[0] - system.positions[1])
    spacing = map_spacing(settings, geometry, grid.pitch)
    rows, columns = (np.arange(n) * s for n, s in zip(view.shape, spacing, strict=True))
    far = np.hypot(rows[:, None], columns[None, :]) > 2.5 * system.radii.max()  # not a disk with itself
    row, column = np.unravel_index(np.where(far, view, -np.inf).argmax(), view.shape)
    np.testing.assert_allclose([rows[row], columns[column]], distances, atol=system.radii.max() / 4)
    with pytest.raises(ValueError, match="k_step must be a positive"):
        map_spacing(settings, geometry, 0.0)
