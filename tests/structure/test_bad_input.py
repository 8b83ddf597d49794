"""Frames that cannot be solved: an error for what makes no sense, a reason for what does not tell."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import Certificate, Prior, SolveSettings, Structure, solve

K_STEP = np.pi / 2000.0


@pytest.fixture(scope="module")
def frame() -> NDArray[np.float32]:
    return intensity(draw_system("poly", 5, np.random.default_rng(3)), grid_by_name("quadrant", 129)).astype(
        "f4"
    )


@pytest.mark.parametrize("k_step", [0.0, -1.0, np.nan, np.inf, None])
def test_no_k_step(frame: NDArray[Any], k_step: Any) -> None:
    with pytest.raises(ValueError, match="`k_step` must be a positive wave number"):
        solve(frame, FrameGeometry(frame.shape), k_step)


def test_a_stack_of_frames(frame: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="two dimensions"):
        solve(np.stack([frame, frame]), FrameGeometry(frame.shape), K_STEP)


def test_another_shape(frame: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match=r"expected a frame of \(64, 64\)"):
        solve(frame, FrameGeometry((64, 64)), K_STEP)


def test_a_beam_off_the_frame(frame: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="lies off the frame"):
        solve(frame, FrameGeometry(frame.shape, (400.0, 3.0)), K_STEP)


def test_complex_numbers(frame: NDArray[Any]) -> None:
    with pytest.raises(ValueError, match="real numbers"):
        solve(frame.astype(complex), FrameGeometry(frame.shape), K_STEP)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"noise": "pink"}, "noise must be one of"),
        ({"budget": -1.0}, "budget must be a number of 0 or more"),
        ({"point_spread": np.nan}, "point_spread"),
        ({"extent": 0.0}, "extent must be a positive number"),
        ({"most_disks": 0}, "most_disks"),
        ({"seed": -1}, "seed"),
        ({"dark_level": np.inf}, "dark_level"),
    ],
)
def test_settings_outside_of_their_range(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SolveSettings(**settings)


def test_half_a_prior() -> None:
    with pytest.raises(ValueError, match="both mean and deviation"):
        Prior(mean=3.0)


def test_unknown_settings() -> None:
    with pytest.raises(ValueError, match="unknown settings.*patience"):
        SolveSettings.from_dict({"patience": 3})


def test_settings_survive_a_document() -> None:
    settings = SolveSettings(noise="counts", prior=Prior(mean=40.0, deviation=5.0), seed=3)
    assert SolveSettings.from_dict(settings.to_dict()) == settings


def undecided(structure: Structure, reason: str) -> None:
    assert structure.certificate is Certificate.UNDECIDED
    assert reason in structure.reason
    assert Structure.from_dict(structure.to_dict()).reason == structure.reason


def test_too_few_pixels(frame: NDArray[Any]) -> None:
    mask = np.ones(frame.shape, bool)
    mask[20:30, 20:30] = False
    undecided(solve(frame, FrameGeometry(frame.shape, mask=mask), K_STEP), "only 100 pixels are left")


@pytest.mark.parametrize(("value", "reason"), [(0.0, "empty"), (7.0, "constant"), (np.nan, "only 0 pixels")])
def test_frames_that_show_nothing(frame: NDArray[Any], value: float, reason: str) -> None:
    undecided(solve(np.full_like(frame, value), FrameGeometry(frame.shape), K_STEP), reason)


def test_no_time(frame: NDArray[Any]) -> None:
    undecided(
        solve(frame, FrameGeometry(frame.shape), K_STEP, SolveSettings(budget=0.0)), "budget of time is 0"
    )


def test_time_that_runs_out(frame: NDArray[Any]) -> None:
    shuffled = np.random.default_rng(0).permutation(frame.ravel()).reshape(frame.shape)
    ticks = iter(range(10**9))
    structure = solve(
        shuffled, FrameGeometry(frame.shape), K_STEP, SolveSettings(budget=3.0), lambda: next(ticks)
    )
    undecided(structure, "budget of time ran out")


def test_some_nan_is_left_out(frame: NDArray[Any]) -> None:
    holes = frame.copy()
    holes[40:44, 50:60] = np.nan
    assert solve(holes, FrameGeometry(frame.shape), K_STEP).disk_number == 5


def test_forty_disks() -> None:
    rng = np.random.default_rng(2)
    positions = np.stack(np.meshgrid(np.arange(7), np.arange(6)), -1).reshape(-1, 2)[:40] * 280.0 + 100.0
    system = DiskSystem(positions + rng.uniform(-60.0, 60.0, positions.shape), rng.uniform(15.0, 30.0, 40))
    many = intensity(system, grid_by_name("quadrant", 129)).astype(np.float32)
    structure = solve(many, FrameGeometry(many.shape), K_STEP, SolveSettings(budget=1.0))
    assert structure.disk_number == 40 or not structure.solved
    assert structure.reason
