"""Mask and beam centre that were found on turned frames fit, live and in completion, as for files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray
from typer.testing import CliRunner

from simulated_devices import centered, draw_system, intensity
from speckle_plugin.cli import app
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.preprocessing.orientation import ORIENTATIONS
from speckle_plugin.reprocess import complete_run
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from tests.testing.camera import GivenCamera

NUMBERS = (2, 5, 9)
CENTER = (128.0, 98.0)
"""Where the beam is on the frames as they are stored."""
SHAPE = (257, 227)


@pytest.fixture(scope="module")
def mask() -> NDArray[np.bool_]:
    """Give a mask that is like none of itself turned."""
    mask = np.zeros(SHAPE, bool)
    mask[20:60, 180:200] = mask[200:210, 3:150] = True
    return mask


@pytest.fixture(scope="module")
def frames(mask: NDArray[np.bool_]) -> NDArray[Any]:
    """Give frames whose beam is not in the middle, and that are spoiled where they are masked."""
    rng = np.random.default_rng(4)
    drawn = [intensity(draw_system("mono", number, rng), centered(257))[:, 30:] for number in NUMBERS]
    counts = np.stack([rng.poisson(frame * (1e7 / frame.sum())) for frame in drawn]).astype(np.uint32)
    counts[:, mask] = rng.integers(0, 5 * counts.max(), mask.sum())
    return counts


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(find_bundle("quadrant"))


@pytest.fixture
def measure(
    run_engine: RunEngine, store: TiledStore, classifier: Classifier, frames: NDArray[Any]
) -> Iterator[Callable[..., Any]]:
    closed: list[Callable[[], None]] = []

    def count(settings: FrameSettings, **configuration: Any) -> Any:
        live = LiveClassifier(classifier, settings)
        saver = RunSaver(store.runs, store.journal_directory)
        closed.extend([live.close, saver.close])
        live.subscribe(saver, saves=True)
        token = run_engine.subscribe(live)
        camera = GivenCamera("det", store.frames_directory, frames, configuration, truth=NUMBERS)
        run_engine(bp.count([camera], len(NUMBERS)))
        run_engine.unsubscribe(token)
        assert not saver.failures
        return store.runs.values().last()

    yield count
    for close in closed:
        close()


def settings_for(name: str, mask: NDArray[np.bool_], orientation: str) -> FrameSettings:
    """Give what a user says who sees the frames turned by an orientation of this name."""
    turned = ORIENTATIONS[name]
    center, masks = turned.turn_point(CENTER, SHAPE), {"det_image": turned.turn(mask)}
    return FrameSettings(beam_center=center, masks=masks, orientation=orientation)


@pytest.mark.parametrize("name", ["left-turn", "mirrored", "anti-transposed"])
@pytest.mark.parametrize("by_detector", [False, True])
def test_what_the_user_says_is_turned_back(
    measure: Callable[..., Any],
    classifier: Classifier,
    frames: NDArray[Any],
    mask: NDArray[np.bool_],
    name: str,
    by_detector: bool,
) -> None:
    expected = classifier.label(list(frames), FrameGeometry(SHAPE, CENTER, mask))
    assert [result.disk_number for result in expected] == list(NUMBERS)
    settings = settings_for(name, mask, "as-stored" if by_detector else name)
    run = measure(settings, **({"orientation": name} if by_detector else {}))
    table = find_frames(run)
    assert list(table["disk_number"]) == list(NUMBERS) and set(table["flags"]) == {""}
    np.testing.assert_allclose(table["confidence"], [result.confidence for result in expected], atol=1e-4)
    with pytest.raises(CompletionError, match="cannot be classified with what is given"):
        complete_run(run, classifier, masks={"det_image": np.zeros((3, 3), bool)}, everything=True)
    done = complete_run(run, classifier, masks=settings.masks, everything=True)
    assert done.classified == len(NUMBERS)
    run.refresh()
    again = find_frames(run)
    assert list(again["disk_number"]) == list(NUMBERS) and set(again["flags"]) == {""}
    np.testing.assert_allclose(again["confidence"], table["confidence"], atol=1e-4)


def test_a_detector_states_its_own_centre_as_its_frames_are_stored(
    measure: Callable[..., Any], mask: NDArray[np.bool_]
) -> None:
    settings = settings_for("left-turn", mask, "left-turn")
    run = measure(settings, beam_center=list(CENTER))
    assert list(find_frames(run)["disk_number"]) == list(NUMBERS)


def test_an_orientation_that_is_none_flags_frames(measure: Callable[..., Any]) -> None:
    run = measure(FrameSettings(beam_center=CENTER), orientation="sideways")
    assert set(find_frames(run)["flags"]) == {"unusable_geometry"}
    (problem,) = run.metadata["stop"]["classification"]["problems"]
    assert "det_orientation: there is no orientation 'sideways'" in problem["reason"]
    assert "left-turn" in problem["reason"]


def test_commands_on_files_take_the_orientation_of_the_settings(
    frames: NDArray[Any], mask: NDArray[np.bool_], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    turned = ORIENTATIONS["left-turn"]
    np.save(tmp_path / "frames.npy", frames)
    np.save(tmp_path / "mask.npy", turned.turn(mask))
    row, column = turned.turn_point(CENTER, SHAPE)
    monkeypatch.setenv("SPECKLE_ORIENTATION", "left-turn")
    monkeypatch.setenv("SPECKLE_BEAM_CENTER", f"{row},{column}")
    monkeypatch.setenv("SPECKLE_MASK", f"det_image={tmp_path}/mask.npy")
    table = tmp_path / "results.csv"
    arguments = ["classify", str(tmp_path / "frames.npy"), "--model", "quadrant", "--out", str(table)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    rows = [line.split(",") for line in table.read_text().splitlines()[1:]]
    assert [int(row[1]) for row in rows] == list(NUMBERS) and {row[3] for row in rows} == {""}
    result = CliRunner().invoke(app, ["doctor", "--file", str(tmp_path / "frames.npy")])
    assert f"row {row:g}, column {column:g}, by the setting beam_center" in result.stdout
