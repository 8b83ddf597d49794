"""Commands go by the settings, and options come before them."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.testing.commands import Refused, Speckle


@pytest.fixture
def frame_file(tmp_path: Path, frames: np.ndarray) -> Path:
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = frames
    return path


def test_network_mask_and_beam_centre(
    speckle: Speckle,
    small_bundle: Path,
    frame_file: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    np.save(tmp_path / "mask.npy", np.eye(65, dtype=bool))
    settings = tmp_path / "settings.toml"
    settings.write_text(
        f'model = "{small_bundle}"\nbeam_center = [0, 0]\n'
        'mask = {det_image = "mask.npy"}\nengine = "none"\n'
    )
    bare = speckle("classify", frame_file, "--model", small_bundle)
    assert "pixel (0, 0) is taken" in bare.stderr and "mask of" not in bare.stderr
    monkeypatch.setenv("SPECKLE_SETTINGS", str(settings))
    found = speckle("classify", frame_file)
    assert found.exit_code == 0, found.output
    assert "by small 0" in found.stdout
    assert "pixel (0, 0) is taken" not in found.stderr and "mask of the settings: det_image" in found.stderr
    solved = speckle("solve", frame_file, "--k-step", "0.00157", "--frames", "0", "--budget", "0.1")
    assert "mask of the settings: det_image" in solved.stderr, solved.output
    np.save(tmp_path / "mask.npy", np.eye(64, dtype=bool))
    assert "none is used" in speckle("classify", frame_file).stderr
    assert "by quadrant" in speckle("classify", frame_file, "--model", "quadrant").stdout, (
        "options come first"
    )


def test_data_directory(refused: Refused, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECKLE_DATA", str(tmp_path / "stated"))
    refused("query", why=f"{tmp_path}/stated is no data directory")
    refused("query", "--data", "given", why="given is no data directory")
    monkeypatch.setenv("SPECKLE_SERVER", "http://127.0.0.1:1")
    refused("query", why="no Tiled server answers")
    refused("query", "--data", "given", why="given is no data directory")


def test_a_wrong_setting_is_one_line(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECKLE_ENGINE", "gpu")
    refused("models", why="the setting engine = 'gpu' (environment: SPECKLE_ENGINE)")
