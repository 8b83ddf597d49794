"""A wrong beam centre and hot pixels are flagged during the scan, and the summary says what to do."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import PixelGrid, draw_system, intensity
from speckle_plugin.documents.descriptors import FrameSettings, describe_detector
from speckle_plugin.frames.checks import FrameChecks
from speckle_plugin.live import LiveClassifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.reprocess.complete import complete_run
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from tests.testing.camera import GivenCamera
from tests.testing.documents import Documents

CENTER = (120.0, 100.0)
SHAPE = (240, 257)


@pytest.fixture(scope="module")
def frames() -> NDArray[Any]:
    """Give three frames of 10^6 photons with the beam inside."""
    rng = np.random.default_rng(2)
    grid = PixelGrid(SHAPE, np.pi / 2000, CENTER)
    frames = [intensity(draw_system("poly", number, rng), grid) for number in (3, 7, 12)]
    return np.stack([rng.poisson(frame * (1e6 / frame.sum())) for frame in frames]).astype(np.uint32)


@pytest.fixture
def count_frames(
    run_engine: RunEngine, make_live: Callable[..., LiveClassifier], documents: Documents, tmp_path: Path
) -> Callable[..., Documents]:
    def count(frames: NDArray[Any], number: int = 3, **configuration: Any) -> Documents:
        run_engine.subscribe(make_live())
        run_engine(bp.count([GivenCamera("det", tmp_path, frames, configuration)], number))
        return documents

    return count


def flags(documents: Documents) -> list[str]:
    return [row["flags"] for row in documents.rows()]


@pytest.mark.parametrize(
    ("reason", "given"),
    [
        ("off by five pixels", (CENTER[0] + 5, CENTER[1])),
        ("given as (x, y)", (CENTER[1], CENTER[0])),
    ],
)
def test_a_wrong_centre(
    count_frames: Callable[..., Documents], frames: NDArray[Any], reason: str, given: tuple[float, float]
) -> None:
    documents = count_frames(frames, beam_center=list(given))
    assert flags(documents) == ["center_disagrees"] * 3
    (summary,) = documents.frame_counts()
    assert summary["flags"] == {"center_disagrees": 3} and summary["classified"] == 3
    (problem,) = summary["problems"]
    assert problem["frames"] == 3
    assert "show it near row 120, column 100" in problem["reason"]
    assert "speckle center FRAME" in problem["reason"]


def test_a_centre_that_nobody_states(count_frames: Callable[..., Documents], frames: NDArray[Any]) -> None:
    documents = count_frames(frames)
    assert flags(documents) == ["assumed_center,center_disagrees"] * 3
    assert "nobody says where it is" in documents.frame_counts()[0]["problems"][0]["reason"]


def test_a_right_centre(count_frames: Callable[..., Documents], frames: NDArray[Any]) -> None:
    documents = count_frames(frames, beam_center=list(CENTER))
    assert flags(documents) == [""] * 3
    assert "problems" not in documents.frame_counts()[0]


def test_hot_pixels(count_frames: Callable[..., Documents], frames: NDArray[Any]) -> None:
    spoiled = frames.copy()
    spoiled[:, 20:220:20, 40] = 50_000
    documents = count_frames(spoiled, 6, beam_center=list(CENTER))
    assert flags(documents)[-1] == "hot_pixels"
    assert "leave them out by a mask" in documents.frame_counts()[0]["problems"][0]["reason"]


def test_completion_flags_alike(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    store: TiledStore,
    frames: NDArray[Any],
) -> None:
    live = make_live()
    with_store = RunSaver(store.runs, store.journal_directory)
    live.subscribe(with_store, saves=True)
    run_engine.subscribe(live)
    camera = GivenCamera("det", store.frames_directory, frames, {"beam_center": [125.0, 100.0]})
    run_engine(bp.count([camera], 3))
    with_store.close()
    run = store.runs.values().last()
    complete_run(run, live.classifier, everything=True)
    run.refresh()
    assert list(find_frames(run)["flags"]) == ["center_disagrees"] * 3
    assert "speckle center FRAME" in run.metadata["stop"]["classification"]["problems"][0]["reason"]


def test_looking_takes_a_small_part_of_the_time(frames: NDArray[Any]) -> None:
    """By a clock that goes on by a second whenever it is asked: a look takes one, a fiftieth is allowed."""
    seconds = itertools.count()
    looked: list[int] = []
    data_key = {"dtype": "array", "shape": list(SHAPE), "source": "test"}
    detector = describe_detector("det", {"data_keys": {"det": data_key}}, FrameSettings())

    class Counted(FrameChecks):
        def look_at(self, frame: NDArray[Any], geometry: FrameGeometry) -> None:
            next(seconds)
            looked.append(number)

    checks = Counted(detector, lambda: float(next(seconds)))
    for number in range(300):
        checks.look([frames[number % 3]])
    assert looked[:2] == [0, 1] and 3 <= len(looked) <= 2 + 300 / 50


def test_frames_of_no_use_are_passed_by() -> None:
    data_key = {"dtype": "array", "shape": [40, 50], "source": "test"}
    checks = FrameChecks(describe_detector("det", {"data_keys": {"det": data_key}}, FrameSettings()))
    nothing = np.full((40, 50), np.nan)
    checks.look([np.zeros((3, 3)), np.full((40, 50), "x"), nothing, np.zeros((40, 50))])
    assert checks.flags == () and checks.advice == ""
