"""`speckle doctor`: each fault that is put in is found, with what to do, and the exit code says so."""

from __future__ import annotations

import re
import socket
import threading
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest

from speckle_plugin.doctor.finding import Level
from speckle_plugin.doctor.installation import examine_installation, known_versions
from tests.testing.commands import Speckle


@pytest.fixture
def frame_file(tmp_path: Path, frames: np.ndarray) -> Path:
    path = tmp_path / "frames.h5"
    with h5py.File(path, "w") as file:
        file["frames"] = frames
    return path


@pytest.fixture
def frames_settings(tmp_path: Path, small_bundle: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPECKLE_MODEL", str(small_bundle))
    monkeypatch.setenv("SPECKLE_DATA", str(tmp_path / "data"))
    return tmp_path


def levels(output: str) -> dict[str, str]:
    """Give the worst level of each subject."""
    found: dict[str, str] = {}
    for level, subject in re.findall(r"^(ok|note|BROKEN) +([^:]+):", output, re.MULTILINE):
        found[subject] = max(found.get(subject, ""), level, key=["", "ok", "note", "BROKEN"].index)
    return found


def test_all_is_well(speckle: Speckle, data_directory: Path, frame_file: Path, frames_settings: Path) -> None:
    result = speckle("doctor", "--data", data_directory)
    assert result.exit_code == 0, result.output
    found = levels(result.stdout)
    for subject in ("installation", "settings", "network", "data directory", "server"):
        assert found[subject] == "ok", result.stdout
    assert "answers and holds 0 runs" in result.stdout and "small 0" in result.stdout


def test_a_frame(
    speckle: Speckle, frame_file: Path, frames_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    result = speckle("doctor", "--file", frame_file)
    assert result.exit_code == 0, result.output
    assert levels(result.stdout)["beam centre"] == "note" and "NAME_beam_center" in result.stdout
    assert "5 frames of 65 x 65 pixels, float32" in result.stdout
    mask = np.zeros((65, 65), bool)
    mask[3] = True
    np.save(frames_settings / "mask.npy", mask)
    monkeypatch.setenv("SPECKLE_MASK", f"det_image={frames_settings}/mask.npy")
    monkeypatch.setenv("SPECKLE_BEAM_CENTER", "0,0")
    result = speckle("doctor", "--file", frame_file)
    assert levels(result.stdout)["beam centre"] == "ok"
    assert "65 by the setting mask (det_image)" in result.stdout
    assert re.search(r"label: \d+ disks", result.stdout)


def test_a_frame_that_gets_no_label(speckle: Speckle, frames_settings: Path) -> None:
    np.save(frames_settings / "empty.npy", np.zeros((65, 65)))
    result = speckle("doctor", "--file", frames_settings / "empty.npy")
    assert result.exit_code == 1
    assert levels(result.stdout)["label"] == "BROKEN" and "is the shutter open" in result.stdout


def test_a_beam_centre_as_x_y(
    speckle: Speckle, frames_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SPECKLE_MODEL")
    path = frames_settings / "centered.h5"
    options = ("--grid", "centered", "--disk-numbers", "5", "--count", "1")
    assert speckle("simulate", *options, "--out", path).exit_code == 0
    with h5py.File(path) as file:
        (frame,) = file["frames"][:] if "frames" in file else next(iter(file.values()))[:]
    np.save(frames_settings / "moved.npy", frame[:, 30:])  # the beam is at column 128 - 30 now
    monkeypatch.setenv("SPECKLE_BEAM_CENTER", "98,128")
    result = speckle("doctor", "--file", frames_settings / "moved.npy")
    assert result.exit_code == 1
    assert levels(result.stdout)["beam centre"] == "BROKEN" and "(x, y)" in result.stdout


FAULTS = {
    "settings": {"SPECKLE_ENGINE": "gpu"},
    "network": {"SPECKLE_MODEL": "no-such-model"},
    "server": {"SPECKLE_SERVER": "http://127.0.0.1:1"},
    "data directory": {"SPECKLE_DATA": "/dev/null"},
}


@pytest.mark.parametrize("subject", FAULTS)
def test_what_is_broken(
    speckle: Speckle, frames_settings: Path, subject: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in FAULTS[subject].items():
        monkeypatch.setenv(name, value)
    result = speckle("doctor")
    assert result.exit_code == 1 and "1 broken" in result.stderr
    assert [one for one, level in levels(result.stdout).items() if level == "BROKEN"] == [subject]
    assert re.search(rf"^BROKEN +{subject}: .+\n +-> .+", result.stdout, re.MULTILINE)


def test_what_is_told_beside(
    speckle: Speckle, data_directory: Path, frames_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_directory / "journal" / "left.jsonl").write_text("")
    monkeypatch.setenv("SPECKLE_BEAMCENTER", "1,2")
    monkeypatch.setenv("SPECKLE_ENGINE", "none")
    result = speckle("doctor", "--data", data_directory)
    assert result.exit_code == 0, result.stdout
    found = levels(result.stdout)
    assert (found["journals"], found["environment"], found["engine"]) == ("note", "note", "note")
    assert f"speckle replay --data {data_directory}" in result.stdout
    assert "nothing reads SPECKLE_BEAMCENTER" in result.stdout and "speckle worker" in result.stdout


def test_redis(speckle: Speckle, frames_settings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setattr("speckle_plugin.doctor.surroundings.REDIS", server.getsockname())

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(64)
                connection.sendall(b"+PONG\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert levels(speckle("doctor").stdout)["Redis"] == "ok"
        thread.join()
    assert levels(speckle("doctor").stdout)["Redis"] == "note"


def test_packages_that_do_not_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {one.level for one in examine_installation() if one.subject == "packages"} <= {"ok", "note"}
    assert known_versions()["numpy"]
    needed = ["numpy>=999", "no-such-package", 'not-wanted; extra == "x"', "h5py"]
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    found = [one for one in examine_installation() if one.level == Level.BROKEN]
    assert [one.remedy for one in found] == ["pip install 'numpy>=999'", "pip install no-such-package"]
