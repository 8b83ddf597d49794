"""Settings: arguments before the environment before the file; what makes no sense is one clear line."""

from __future__ import annotations

import logging
import math
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import numpy as np
import pytest
from bluesky import RunEngine

from simulated_devices import SpeckleDetector
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.unknown_keys import UnknownKeys
from speckle_plugin.session import start_session
from speckle_plugin.settings import Settings, SettingsError, check_frames, read_settings

WriteFile = Callable[[str], Path]

PONI = """
Detector_config: {"pixel1": 0.0001, "pixel2": 0.0001, "orientation": 3}
Distance: 0.7
Poni1: 0.03
Poni2: 0.05
Rot1: 0
Rot2: 0
Rot3: 0
Wavelength: 1e-10
"""


@pytest.fixture
def settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> WriteFile:
    """Write the file of settings, with masks beside it."""
    mask = np.zeros((65, 65), bool)
    mask[:3] = True
    np.save(tmp_path / "mask.npy", mask)
    np.save(tmp_path / "used.npy", ~mask)
    (tmp_path / "detector.poni").write_text(PONI)
    (tmp_path / "text.npy").write_text("no mask")

    def write(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_text(text)
        monkeypatch.setenv("SPECKLE_SETTINGS", str(path))
        return path

    return write


def test_arguments_before_environment_before_file(
    settings_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert read_settings() == Settings()
    path = settings_file('data = "here"\nmodel = "published"\nengine = "openvino"\nbeam_center = [1, 2]\n')
    monkeypatch.setenv("SPECKLE_BEAM_CENTER", "256, 255.5")
    monkeypatch.setenv("SPECKLE_MODEL", "quadrant")
    found = read_settings(model="mine.bundle", engine=None)
    assert (found.model, found.beam_center, found.engine) == ("mine.bundle", (256.0, 255.5), "openvino")
    assert found.data == path.parent / "here", "paths in the file are meant from its folder"


def test_every_setting_can_stand_in_the_environment(
    tmp_path: Path, settings_file: WriteFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings_file("")
    values = {
        "data": (str(tmp_path), tmp_path),
        "server": ("http://127.0.0.1:8000", "http://127.0.0.1:8000"),
        "frame_folders": ("/detector/a, /detector/b", (Path("/detector/a"), Path("/detector/b"))),
        "profile": ("speckle", "speckle"),
        "model": ("published", "published"),
        "engine": ("none", "none"),
        "image_keys": ("det_image, cam", ("det_image", "cam")),
        "leave_out": ("baseline", ("baseline",)),
        "darks": ("dark, det_dark", ("dark", "det_dark")),
        "subtract_darks": ("true", True),
        "flats": ("flat", ("flat",)),
        "divide_by_flats": ("true", True),
        "orientation": ("left-turn", "left-turn"),
        "beam_center": ("3,4", (3.0, 4.0)),
        "beam_center_names": ("*_y,*_x", ("*_y", "*_x")),
        "k_step_names": ("*_l,*_d,*_p", ("*_l", "*_d", "*_p")),
        "k_step": ("0.0015", 0.0015),
        "geometry": (f"{tmp_path}/detector.poni", tmp_path / "detector.poni"),
        "mask": (f"cam={tmp_path}/mask.npy", {"cam": tmp_path / "mask.npy"}),
        "mask_polarity": ("used", "used"),
        "second_opinion": ("unsure", "unsure"),
        "table": ("false", False),
        "live_figure": ("inline", "inline"),
    }
    assert values.keys() == Settings.model_fields.keys()
    for name, (text, _) in values.items():
        monkeypatch.setenv(f"SPECKLE_{name.upper()}", text)
    assert read_settings().model_dump() == {name: value for name, (_, value) in values.items()}


def test_the_page_has_every_setting() -> None:
    page = Path(__file__).parents[1] / "docs" / "how-to" / "settings.md"
    example = page.read_text(encoding="utf-8").partition("```toml\n")[2].partition("```")[0]
    assert tomllib.loads(example).keys() == Settings.model_fields.keys()


def test_a_data_directory_that_is_given_means_the_runs_in_it(
    tmp_path: Path, settings_file: WriteFile
) -> None:
    settings_file('server = "facility"')
    assert read_settings().server == "facility"
    assert read_settings(data=tmp_path).server is None
    assert read_settings(data=tmp_path, server="other").server == "other"


WRONG = {
    'engine = "gpu"': "engine = 'gpu'",
    "beam_center = [1]": "ROW,COLUMN",
    'beam_center_names = ["det_x"]': "two names",
    'k_step_names = ["det_wavelength"]': "three names",
    "beam_center = [1, nan]": "ROW,COLUMN",
    "k_step = 0": "greater than 0",
    "k_step = nan": "k_step = 'nan'",
    'geometry = "lost.poni"': "no file",
    "image_keys = [1]": "a list of data keys",
    'mask = "lost.npy"': "no file",
    'image_keys = ["cam"]\nmask = {det_image = "mask.npy"}': "image_keys leaves out",
    "beam_centre = [1, 2]": "there is no setting 'beam_centre'",
    'api_key = "secret"': "there is no setting 'api_key'",
    "table = 3": "table = '3'",
    "data =": "can't be read",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_makes_no_sense(settings_file: WriteFile, text: str) -> None:
    path = settings_file(text)
    with pytest.raises(SettingsError) as raised:
        read_settings()
    message = str(raised.value)
    assert WRONG[text] in message and "\n" not in message
    assert str(path) in message or "leaves out" in message


def test_a_file_that_is_named_must_be_there(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SPECKLE_SETTINGS", str(tmp_path / "lost.toml"))
    with pytest.raises(SettingsError, match=r"lost\.toml"):
        read_settings()


def test_the_users_file_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("SPECKLE_SETTINGS")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    assert read_settings().model is None
    (tmp_path / "speckle").mkdir()
    (tmp_path / "speckle" / "settings.toml").write_text('model = "published"')
    assert read_settings().model == "published"


def test_masks_are_read(settings_file: WriteFile) -> None:
    settings_file('mask = {det_image = "mask.npy"}\nbeam_center = [3, 4]')
    frames = read_settings().frames()
    assert frames.masks is not None and frames.masks["det_image"].sum() == 3 * 65
    assert frames.beam_center == (3.0, 4.0)
    settings_file('mask = "mask.npy"\nimage_keys = ["a", "b"]')
    assert sorted(read_settings().frames().masks or ()) == ["a", "b"]


def test_a_geometry_file_states_the_beam(settings_file: WriteFile) -> None:
    settings_file('geometry = "detector.poni"')
    frames = check_frames(read_settings().frames())
    assert frames.beam_center == pytest.approx((299.5, 499.5))
    assert frames.k_step == pytest.approx(2 * math.pi / 0.1 * 1e-4 / 0.7)
    assert FrameSettings.from_configuration(frames.to_configuration()).k_step == frames.k_step
    settings_file(
        'geometry = "detector.poni"\nbeam_center = [3, 4]\nk_step = 0.01\norientation = "half-turn"'
    )
    frames = read_settings().frames()
    assert (frames.beam_center, frames.k_step) == ((3.0, 4.0), 0.01)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('geometry = "text.npy"', "text.npy can't be used"),
        ('geometry = "detector.poni"\norientation = "half-turn"', "give beam_center as well"),
    ],
)
def test_a_geometry_that_can_not_be(settings_file: WriteFile, text: str, why: str, tmp_path: Path) -> None:
    settings_file(text)
    with pytest.raises(SettingsError, match=why):
        start_session(tmp_path / "data")
    assert not (tmp_path / "data").exists(), "before anything is opened"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('mask = "mask.npy"', "for which detector"),
        ('mask = {det_image = "text.npy"}', "can't be used"),
        ('mask = {det_image = "used.npy"}', 'mask_polarity = "used"'),
    ],
)
def test_masks_that_cannot_be(settings_file: WriteFile, text: str, why: str, tmp_path: Path) -> None:
    settings_file(text)
    with pytest.raises(SettingsError, match=why):
        start_session(tmp_path / "data")
    assert not (tmp_path / "data").exists(), "before anything is opened"


WRONG_FRAMES: dict[str, tuple[dict[str, Any], str]] = {
    "a mask without a key": ({"masks": np.zeros((3, 3), bool)}, "for which data key"),
    "a mask in one dimension": ({"masks": {"det_image": np.zeros(3, bool)}}, "rows and columns"),
    "a mask of a key left out": (
        {"masks": {"a": np.zeros((3, 3), bool)}, "image_keys": ("b",)},
        "leaves out",
    ),
    "a key instead of keys": ({"image_keys": "det_image"}, "tuple of names"),
    "a centre of one number": ({"beam_center": (1.0,)}, "beam_center"),
    "a k step of 0": ({"k_step": 0.0}, "k_step"),
    "a k step of text": ({"k_step": "fine"}, "k_step"),
    "a centre of text": ({"beam_center": "1,2"}, "beam_center"),
}


@pytest.mark.parametrize("name", WRONG_FRAMES)
def test_frame_settings_are_looked_at_before_the_first_frame(name: str, tmp_path: Path) -> None:
    wrong, why = WRONG_FRAMES[name]
    with pytest.raises(SettingsError, match=why):
        start_session(tmp_path / "data", frames=FrameSettings(**wrong))
    assert check_frames(FrameSettings(("a",), (1, 2), {"a": np.zeros((3, 3), bool)}))


def test_a_key_that_no_run_has_is_told_once(
    run_engine: RunEngine, make_detector: Callable[..., SpeckleDetector], caplog: pytest.LogCaptureFixture
) -> None:
    settings = FrameSettings(("det_imge", "det_image"), masks={"det_image": np.zeros((65, 65), bool)})
    run_engine.subscribe(UnknownKeys(settings))
    with caplog.at_level(logging.WARNING, "speckle_plugin"):
        run_engine(bp.count([], 1))
        run_engine(bp.count([make_detector()], 2))
        run_engine(bp.count([make_detector()], 1))
    (message,) = [record.getMessage() for record in caplog.records]
    assert "image_keys names 'det_imge'" in message and "is it 'det_image'?" in message


@pytest.mark.parametrize(("key", "told"), [("det1_imge", 1), ("det2_image", 0)])
def test_a_key_that_is_nearly_right_is_told_at_the_first_frame(
    run_engine: RunEngine,
    make_detector: Callable[..., SpeckleDetector],
    caplog: pytest.LogCaptureFixture,
    key: str,
    told: int,
) -> None:
    """One of another number may still come, in another stream."""
    run_engine.subscribe(UnknownKeys(FrameSettings((key,))))
    seen: list[int] = []
    run_engine.subscribe(lambda name, doc: seen.append(len(caplog.records)), "event")
    with caplog.at_level(logging.WARNING, "speckle_plugin"):
        run_engine(bp.count([make_detector("det1")], 2))
    assert seen == [told, told] and len(caplog.records) == 1
