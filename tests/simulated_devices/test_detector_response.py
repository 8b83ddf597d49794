"""Each effect by itself against what is known of it, and what may not be combined."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from simulated_devices import DetectorResponse, draw_system, intensity, quadrant

INTENSITY = intensity(draw_system("mono", 5, np.random.default_rng(0)), quadrant(65))
FLAT = np.ones((200, 200))


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_off_by_default() -> None:
    before = INTENSITY.copy()
    frame = DetectorResponse().respond(INTENSITY, rng())
    assert frame.dtype == np.float32
    np.testing.assert_array_equal(frame, INTENSITY.astype(np.float32))
    np.testing.assert_array_equal(INTENSITY, before)
    assert DetectorResponse().effective_saturation_level == 0.0


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint16"])
def test_dtype(dtype: str) -> None:
    assert DetectorResponse(photons=1e4, dtype=dtype).respond(INTENSITY, rng()).dtype == dtype


@pytest.mark.parametrize("scale", [0.1, 1.0, 3.0])
def test_photons(scale: float) -> None:
    frame = DetectorResponse(photons=4e5, dtype="float64").respond(FLAT, rng(), scale)
    assert frame.sum() == pytest.approx(4e5 * scale, abs=5 * np.sqrt(4e5 * scale))
    assert frame.var() == pytest.approx(frame.mean(), rel=0.05)  # of a Poisson distribution
    np.testing.assert_array_equal(frame, np.rint(frame))


def test_photons_of_a_dark_frame() -> None:
    assert DetectorResponse(photons=1e4).respond(np.zeros((5, 5)), rng()).sum() == 0.0


def test_dark_level_and_readout_noise() -> None:
    frame = DetectorResponse(dark_level=100.0, readout_noise=3.0).respond(FLAT, rng())
    assert frame.mean() == pytest.approx(101.0, abs=0.1)
    assert frame.std() == pytest.approx(3.0, rel=0.05)


def test_point_spread() -> None:
    point = np.zeros((41, 41))
    point[20, 20] = 1000.0
    frame = DetectorResponse(point_spread=2.0, dtype="float64").respond(point, rng())
    assert frame.sum() == pytest.approx(1000.0)
    variance = (frame.sum(axis=1) * (np.arange(41) - 20) ** 2).sum() / 1000.0
    assert variance == pytest.approx(4.0, rel=0.02)


def test_defects() -> None:
    response = DetectorResponse(dead_fraction=0.01, hot_fraction=0.02, hot_level=500.0, defect_seed=4)
    first, second = response.respond(FLAT, rng()), response.respond(2 * FLAT, rng())
    assert (first == 0).sum() == 400
    assert (first == 500).sum() == 800
    np.testing.assert_array_equal(first == 0, second == 0)  # the same pixels in every frame
    other = DetectorResponse(dead_fraction=0.01, defect_seed=5).respond(FLAT, rng())
    assert not np.array_equal(first == 0, other == 0)


@pytest.mark.parametrize(
    ("settings", "level"),
    [
        ({"saturation_level": 1000.0}, 1000.0),
        ({"saturation_level": 1000.0, "dtype": "uint16"}, 1000.0),
        ({"dtype": "uint16"}, 65535.0),
        ({"saturation_level": 1e6, "dtype": "uint16"}, 65535.0),
    ],
)
def test_saturation(settings: dict[str, Any], level: float) -> None:
    response = DetectorResponse(photons=1e8, **settings)
    assert response.effective_saturation_level == level
    assert response.respond(INTENSITY, rng()).max() == level


def test_unsigned_frames_do_not_wrap_around() -> None:
    response = DetectorResponse(photons=1.0, readout_noise=5.0, dtype="uint16")
    frame = response.respond(FLAT, rng())
    assert frame.max() < 100
    assert (frame == 0).mean() > 0.4


def test_noise_is_that_of_the_generator() -> None:
    response = DetectorResponse(photons=1e5, readout_noise=1.0)
    np.testing.assert_array_equal(response.respond(INTENSITY, rng()), response.respond(INTENSITY, rng()))


def test_settings_survive_json() -> None:
    response = DetectorResponse(
        point_spread=0.7, photons=1e5, hot_fraction=0.1, hot_level=9.0, dtype="uint16"
    )
    assert DetectorResponse.from_dict(json.loads(json.dumps(response.to_dict()))) == response
    with pytest.raises(ValueError, match="unknown settings of a detector response: gain"):
        DetectorResponse.from_dict({"gain": 2})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "uint16"}, "needs photons.*or use dtype 'float32'"),
        ({"dtype": "int8"}, "float32, float64, uint16, not 'int8'"),
        ({"photons": -1.0}, "photons must be a number of 0 or more"),
        ({"photons": 0}, "None turns them off"),
        ({"readout_noise": float("nan")}, "readout_noise must be a number"),
        ({"point_spread": "wide"}, "point_spread must be a number"),
        ({"dead_fraction": 1.5}, "dead_fraction must be a number from 0 to 1"),
        ({"dead_fraction": 0.6, "hot_fraction": 0.6, "hot_level": 1.0}, "add up to 1 at most"),
        ({"hot_fraction": 0.1}, "hot_level is not"),
        ({"defect_seed": -1}, "defect_seed must be an integer"),
    ],
)
def test_wrong_settings(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        DetectorResponse(**settings)


def test_wrong_frames() -> None:
    with pytest.raises(ValueError, match="shape"):
        DetectorResponse().respond(np.zeros(5), rng())
    with pytest.raises(ValueError, match="scale must be a positive number, not 0"):
        DetectorResponse().respond(FLAT, rng(), 0.0)
