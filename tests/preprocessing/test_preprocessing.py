from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import DTypeLike

from simulated_devices import DiskSystem, centered, draw_system, intensity, quadrant
from speckle_plugin.preprocessing import (
    FrameGeometry,
    Preprocessing,
    prepare,
    settings_from_dict,
    usable_pixels,
    used_values,
    view_shape,
)
from speckle_plugin.preprocessing.quadrants import quadrants
from speckle_plugin.preprocessing.radial import ring_moments, rings_of

DEFAULT = Preprocessing()


def _frames(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).exponential(100.0, shape)


@pytest.mark.parametrize(
    ("shape", "center", "rows", "columns"),
    [
        ((257, 257), (0, 0), range(0, 6), range(0, 6)),  # quadrant: the corner is 6 x 6
        ((513, 513), (256, 256), range(251, 262), range(251, 262)),  # centered: the paper's 11 x 11
        ((100, 71), (40, 30), range(35, 46), range(25, 36)),  # neither square nor in the middle
        ((64, 64), (31.5, 31.5), range(27, 37), range(27, 37)),  # between pixels: 10 x 10 are within 5
        ((64, 64), (31.25, 32), range(27, 37), range(27, 38)),
    ],
)
def test_the_blocked_centre(
    shape: tuple[int, int], center: tuple[float, float], rows: range, columns: range
) -> None:
    blocked = ~usable_pixels(FrameGeometry(shape, center), DEFAULT)
    expected = np.zeros(shape, bool)
    expected[np.ix_(rows, columns)] = True
    np.testing.assert_array_equal(blocked, expected)


def test_the_users_mask_joins_the_blocked_centre() -> None:
    mask = np.zeros((64, 64), bool)
    mask[50] = True
    blocked = ~usable_pixels(FrameGeometry((64, 64), mask=mask), DEFAULT)
    assert blocked.sum() == 6 * 6 + 64
    assert blocked[50].all()


@pytest.mark.parametrize("intensity_scale", ["log", "linear"])
def test_standardized_over_unmasked_pixels(intensity_scale: str) -> None:
    mask = np.zeros((64, 48), bool)
    mask[20:30, 20:40] = True
    geometry = FrameGeometry((64, 48), mask=mask)
    settings = Preprocessing(intensity=intensity_scale)  # type: ignore[arg-type]
    inputs = prepare(_frames(3, 64, 48), settings, geometry)
    assert inputs.shape == (3, 1, 64, 48)
    assert inputs.dtype == np.float32
    usable = usable_pixels(geometry, settings)
    for view in inputs[:, 0]:
        assert view[usable].mean() == pytest.approx(0.0, abs=1e-5)
        assert view[usable].std() == pytest.approx(1.0, abs=1e-5)
        assert (view[~usable] == 0).all()


def test_a_centred_frame_folds_into_what_the_quadrant_sees() -> None:
    system = draw_system("poly", 7, np.random.default_rng(3))
    from_quadrant = prepare(intensity(system, quadrant(257)), DEFAULT, FrameGeometry((257, 257)))
    grid = centered(513)
    folded = prepare(intensity(system, grid), DEFAULT, FrameGeometry(grid.shape, grid.beam_center))
    assert from_quadrant.shape == (1, 1, 257, 257)
    assert folded.shape == (1, 2, 257, 257)
    np.testing.assert_allclose(folded[0, 0], from_quadrant[0, 0], atol=2e-4)
    # The second view is the quadrant beside it: the same system in a mirror.
    mirrored = type(system)(np.stack([system.positions[:, 0], -system.positions[:, 1]], axis=1), system.radii)
    from_mirror = prepare(intensity(mirrored, quadrant(257)), DEFAULT, FrameGeometry((257, 257)))
    np.testing.assert_allclose(folded[0, 1], from_mirror[0, 0], atol=2e-4)


def test_a_fold_averages_the_two_copies_of_a_pixel() -> None:
    frame = _frames(65, 65)
    folded = prepare(frame, DEFAULT, FrameGeometry(frame.shape, (32, 32)))
    symmetric = (frame + frame[::-1, ::-1]) / 2
    expected = prepare(symmetric[32:, 32:], DEFAULT, FrameGeometry((33, 33)))
    np.testing.assert_allclose(folded[0, 0], expected[0, 0], atol=1e-4)


def test_a_masked_copy_leaves_the_other() -> None:
    frame = _frames(65, 65)
    symmetric = frame + frame[::-1, ::-1]
    mask = np.zeros((65, 65), bool)
    mask[33:, :] = True
    hidden = np.where(mask, np.nan, symmetric)
    whole = prepare(symmetric, DEFAULT, FrameGeometry((65, 65), (32, 32)))
    half = prepare(hidden, DEFAULT, FrameGeometry((65, 65), (32, 32), mask))
    np.testing.assert_allclose(half, whole, atol=1e-4)


def test_a_mask_of_the_wrong_shape() -> None:
    with pytest.raises(ValueError, match=r"the mask has the shape \(3, 3\), the frames have \(64, 64\)"):
        FrameGeometry((64, 64), mask=np.zeros((3, 3), bool))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32, ">u2"])
def test_every_dtype_gives_the_same_input(dtype: DTypeLike) -> None:
    frames = np.rint(_frames(2, 64, 64))
    geometry = FrameGeometry((64, 64))
    np.testing.assert_array_equal(
        prepare(frames.astype(dtype), DEFAULT, geometry), prepare(frames, DEFAULT, geometry)
    )


def test_what_is_masked_has_no_influence() -> None:
    frame = _frames(64, 64)
    mask = np.zeros((64, 64), bool)
    mask[10:20] = True
    geometry = FrameGeometry((64, 64), mask=mask)
    spoiled = frame.copy()
    spoiled[:6, :6] = np.inf
    spoiled[mask] = np.nan
    np.testing.assert_array_equal(prepare(spoiled, DEFAULT, geometry), prepare(frame, DEFAULT, geometry))


@pytest.mark.parametrize("value", [0.0, 1.0, 0.1, 12345.678])
@pytest.mark.parametrize("intensity_scale", ["log", "linear"])
def test_a_constant_frame_becomes_zeros(value: float, intensity_scale: str) -> None:
    settings = Preprocessing(intensity=intensity_scale)  # type: ignore[arg-type]
    inputs = prepare(np.full((64, 64), value), settings, FrameGeometry((64, 64)))
    assert (inputs == 0).all()


def test_scale_does_not_matter() -> None:
    frame, geometry = _frames(64, 64), FrameGeometry((64, 64))
    np.testing.assert_allclose(
        prepare(1e6 * frame, DEFAULT, geometry), prepare(frame, DEFAULT, geometry), atol=1e-4
    )


def test_crop_keeps_the_corner_at_the_beam() -> None:
    frame = _frames(65, 65)
    settings = Preprocessing(crop=32)
    geometry = FrameGeometry((65, 65), (64, 64))  # the beam in the last corner
    cropped = prepare(frame, settings, geometry)
    assert cropped.shape[1:] == view_shape(settings, geometry) == (1, 32, 32)
    corner = prepare(frame[::-1, ::-1][:32, :32], Preprocessing(), FrameGeometry((32, 32)))
    np.testing.assert_allclose(cropped, corner, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "center", "mask"),
    [
        ((20, 20), (0, 0), None),  # too small
        ((64, 64), (100, 100), None),  # the beam is not on it
        ((64, 64), (0, 0), np.ones((64, 64), bool)),  # nothing left
    ],
)
def test_too_little_left(
    shape: tuple[int, int], center: tuple[float, float], mask: np.ndarray | None
) -> None:
    with pytest.raises(ValueError, match="too little of the frame is left"):
        view_shape(DEFAULT, FrameGeometry(shape, center, mask))


def test_frames_of_another_shape() -> None:
    with pytest.raises(ValueError, match=r"expected frames of \(64, 64\) pixels"):
        prepare(np.ones((2, 64, 65)), DEFAULT, FrameGeometry((64, 64)))


@pytest.mark.parametrize(
    "values", [{"crop": 8}, {"intensity": "square"}, {"log_offset": 0.0}, {"log_offset": float("nan")}]
)
def test_settings_that_cannot_be(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(values))):
        settings_from_dict(values)


def test_settings_travel_as_a_dictionary() -> None:
    settings = Preprocessing(crop=64, intensity="linear")
    assert settings_from_dict(vars(settings)) == settings
    assert settings.hash == Preprocessing(crop=64, intensity="linear").hash != DEFAULT.hash
    with pytest.raises(ValueError, match=r"\['sharpen'\].*newer"):
        settings_from_dict({"sharpen": True})


def _pair(distance: tuple[float, float], size: int = 129) -> np.ndarray:
    """Frame of two small disks at a distance."""
    middle = np.array([1000.0, 1000.0])
    half = np.array(distance) / 2
    return intensity(DiskSystem(np.stack([middle - half, middle + half]), np.full(2, 15.0)), quadrant(size))


PATTERSON = Preprocessing(crop=129, intensity="patterson")


@pytest.mark.parametrize("distance", [(600.0, 900.0), (1500.0, 250.0)])
def test_a_pair_of_disks_is_a_spot_at_its_distance(distance: tuple[float, float]) -> None:
    (((patterson),),) = prepare(_pair(distance), PATTERSON, FrameGeometry((129, 129)))
    step = 2000.0 / 128  # the map reaches to pi / pitch = 2000
    far = patterson.copy()
    far[:12, :12] = -np.inf  # the distances within each disk
    found = np.multiply(np.unravel_index(far.argmax(), far.shape), step)
    np.testing.assert_allclose(found, distance, atol=step)


def test_a_patterson_map_is_standardized_and_knows_no_scale() -> None:
    frames = np.stack([intensity(draw_system("poly", 7, np.random.default_rng(1)), quadrant(257))] * 2)
    frames[1] *= 1e-7
    maps = prepare(frames, PATTERSON, FrameGeometry((257, 257)))
    assert maps.shape == (2, 1, 129, 129) == (2, *view_shape(PATTERSON, FrameGeometry((257, 257))))
    np.testing.assert_allclose(maps.mean((1, 2, 3)), 0.0, atol=1e-5)
    np.testing.assert_allclose(maps.std((1, 2, 3)), 1.0, rtol=1e-5)
    np.testing.assert_allclose(maps[0], maps[1], atol=1e-3)


def test_masked_pixels_change_a_patterson_map_little() -> None:
    frame = intensity(draw_system("poly", 7, np.random.default_rng(1)), quadrant(257))
    mask = np.random.default_rng(2).random(frame.shape) < 0.02
    whole = prepare(frame, PATTERSON, FrameGeometry(frame.shape))
    spoiled = np.where(mask, 1e12, frame)
    masked = prepare(spoiled, PATTERSON, FrameGeometry(frame.shape, mask=mask))
    assert np.corrcoef(whole.ravel(), masked.ravel())[0, 1] > 0.95
    unmasked = prepare(np.where(mask, 0.0, frame), PATTERSON, FrameGeometry(frame.shape))
    assert np.abs(masked - whole).mean() < np.abs(unmasked - whole).mean()


def test_a_frame_smaller_than_the_crop_gives_a_map_of_the_same_distances() -> None:
    geometry = FrameGeometry((97, 80))
    assert view_shape(PATTERSON, geometry) == (1, 129, 129)
    (((patterson),),) = prepare(_pair((600.0, 900.0))[:97, :80], PATTERSON, geometry)
    far = patterson.copy()
    far[:16, :16] = -np.inf
    found = np.multiply(np.unravel_index(far.argmax(), far.shape), 2000.0 / 128)
    np.testing.assert_allclose(found, (600.0, 900.0), atol=32.0)


def test_a_finer_map_of_nearer_distances() -> None:
    settings = Preprocessing(crop=129, intensity="patterson", oversampling=2, map_size=64)
    geometry = FrameGeometry((257, 257), (128.0, 128.0))
    frame = intensity(draw_system("constant_radius", 4, np.random.default_rng(3)), centered(257))
    maps = prepare(frame, settings, geometry)
    assert maps.shape == (1, 2, 64, 64) == (1, *view_shape(settings, geometry))
    assert np.isfinite(maps).all()


MOMENTS = Preprocessing(crop=257, intensity="patterson", radial_rows=43, moments=3)


def test_an_empty_frame_gives_a_map_of_zeros() -> None:
    assert not prepare(np.zeros((129, 129)), PATTERSON, FrameGeometry((129, 129))).any()
    assert not prepare(np.zeros((129, 129)), MOMENTS, FrameGeometry((129, 129))).any()


def test_moments_stand_below_the_radial_average() -> None:
    frame = intensity(draw_system("poly", 7, np.random.default_rng(1)), quadrant(257))
    geometry = FrameGeometry(frame.shape)
    inputs = prepare(frame, MOMENTS, geometry)
    assert inputs.shape == (1, 1, 386, 257) == (1, *view_shape(MOMENTS, geometry))
    radial_average_only = prepare(frame, replace(MOMENTS, moments=1), geometry)
    np.testing.assert_array_equal(inputs[:, :, :300], radial_average_only)
    for images in (inputs[..., 300:343, :], inputs[..., 343:, :]):
        assert abs(images.mean()) < 1e-4
        assert images.std() == pytest.approx(1.0, rel=1e-4)


def test_the_second_moment_is_an_effective_number_of_scatterers() -> None:
    """Of n equal disks far from the beam, mean(I**2) / mean(I)**2 is 2 - 1 / n."""
    system = draw_system("mono", 3, np.random.default_rng(1))
    frame = intensity(system, quadrant(257)).astype(np.float32)
    (view,) = quadrants(FrameGeometry(frame.shape), MOMENTS)
    (found,) = ring_moments(view.average(frame), rings_of(view, MOMENTS), 2)
    assert np.median(found[60:]) == pytest.approx(2 - 1 / 3, abs=0.05)


def test_settings_without_moments_keep_their_hash() -> None:
    before = Preprocessing(intensity="patterson", crop=129, radial_rows=64)
    assert before.hash == "204d57f0f54076626332f1c78cb2ffd61731a40c9fb90b62109ad7c651549603"
    assert len({before.hash, *(replace(before, moments=moments).hash for moments in (1, 2, 3))}) == 3


@pytest.mark.parametrize(("moments", "rows"), [(0, 4), (4, 4), (2, 0)])
def test_moments_that_cannot_be(moments: int, rows: int) -> None:
    with pytest.raises(ValueError, match="moments must be 1, 2 or 3, and 1 without radial_rows"):
        Preprocessing(moments=moments, radial_rows=rows)


@pytest.mark.parametrize("intensity_scale", ["log", "linear", "patterson"])
def test_frames_come_as_an_array_or_one_by_one(intensity_scale: str) -> None:
    settings, geometry = Preprocessing(intensity=intensity_scale), FrameGeometry((64, 64))  # type: ignore[arg-type]
    frames = _frames(3, 64, 64)
    together = prepare(frames, settings, geometry)
    np.testing.assert_array_equal(together, prepare(list(frames), settings, geometry))
    np.testing.assert_array_equal(together[1:2], prepare(frames[1], settings, geometry))
    assert prepare([], settings, geometry).shape == (0, 1, 64, 64)


def test_a_frame_of_another_shape_is_named() -> None:
    with pytest.raises(
        ValueError, match=r"expected frames of \(64, 64\) pixels, got one of shape \(64, 65\)"
    ):
        prepare([_frames(64, 64), _frames(64, 65)], DEFAULT, FrameGeometry((64, 64)))


@pytest.mark.parametrize("center", [(0.0, 0.0), (32.0, 20.0)])
def test_used_values_are_those_of_the_usable_pixels(center: tuple[float, float]) -> None:
    frame, geometry = _frames(64, 64), FrameGeometry((64, 64), center)
    usable = usable_pixels(geometry, DEFAULT)
    values = used_values(frame, geometry, DEFAULT)
    np.testing.assert_array_equal(np.sort(values), np.sort(frame[usable].astype(np.float32)))
