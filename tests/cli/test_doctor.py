"""`speckle doctor`: each fault that is put in is found, with what to do, and the exit code says so."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import metadata
from pathlib import Path

import h5py
import numpy as np
import pytest

from speckle_plugin.doctor.finding import Level
from speckle_plugin.doctor.frame import REMEDIES
from speckle_plugin.doctor.installation import examine_installation, known_versions
from speckle_plugin.schema import Flag
from speckle_plugin.store import TiledStore
from speckle_plugin.store.server.address import read_address
from tests.testing import mounted
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


def test_every_flag_has_a_remedy() -> None:
    assert REMEDIES.keys() == set(Flag) and all(REMEDIES.values())


def test_a_frame_without_a_network(
    speckle: Speckle, frame_file: Path, frames_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the network has no part in is told all the same."""
    monkeypatch.setenv("SPECKLE_MODEL", "no-such-model")
    result = speckle("doctor", "--file", frame_file)
    assert result.exit_code == 1, result.output
    found = levels(result.stdout)
    assert (found["network"], found["frame"], found["beam centre"]) == ("BROKEN", "ok", "note")
    assert "mend the network first" in result.stdout


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


def test_a_server_that_was_killed(
    speckle: Speckle, frames_settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it left behind says that it is there; it is started again, as by a session."""
    monkeypatch.setenv("SPECKLE_SERVER_IDLE", "0")
    with TiledStore(tmp_path / "data") as store:
        address = read_address(tmp_path / "data")
        assert address is not None
        assert len(store.runs) == 0
        os.kill(address.pid, signal.SIGKILL)
    result = speckle("doctor", "--data", tmp_path / "data")
    assert result.exit_code == 0 and levels(result.stdout)["server"] == "ok", result.output
    assert "answers and holds 0 runs" in result.stdout


@pytest.mark.parametrize("status", [500, 404, 0])
def test_a_server_that_fails(
    speckle: Speckle, frames_settings: Path, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """One that answers nothing but errors, and one that hangs up."""

    class Failing(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if status:
                self.send_error(status)

        def log_message(self, *arguments: object) -> None:
            pass

    monkeypatch.setattr("tiled.client.utils.TILED_RETRY_ATTEMPTS", 1)
    with ThreadingHTTPServer(("127.0.0.1", 0), Failing) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("SPECKLE_SERVER", f"http://127.0.0.1:{server.server_port}")
        result = speckle("doctor")
        server.shutdown()
    assert result.exit_code == 1 and "Traceback" not in result.output
    assert levels(result.stdout)["server"] == "BROKEN", result.output
    told = result.stdout[result.stdout.index("server:") :]
    assert "-> start that server, or correct the setting server" in told


def test_what_is_told_beside(
    speckle: Speckle, data_directory: Path, frames_settings: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (data_directory / "journal" / "left.jsonl").write_text("")
    monkeypatch.setenv("SPECKLE_BEAMCENTER", "1,2")
    monkeypatch.setenv("SPECKLE_ENGINE", "none")
    monkeypatch.setenv("SPECKLE_FRAME_FOLDERS", f"{data_directory}, /detector/not-mounted")
    result = speckle("doctor", "--data", data_directory)
    assert result.exit_code == 0, result.stdout
    found = levels(result.stdout)
    assert (found["journals"], found["environment"], found["engine"]) == ("note", "note", "note")
    assert f"speckle replay --data {data_directory}" in result.stdout
    told = " ".join(result.stdout.split())
    assert "/detector/not-mounted is not there, or may not be read" in told
    assert f"{data_directory} is not there" not in told
    assert "nothing reads SPECKLE_BEAMCENTER" in result.stdout and "speckle worker" in result.stdout


@pytest.mark.parametrize(
    ("options", "why", "remedy"),
    [
        ("size=1m", "0.0 GiB free", "make room"),
        ("ro,size=64k", "no right to write", "give another place"),
        ("size=64k,nr_inodes=1", "No space left on device", "make room"),
    ],
    ids=["full", "read-only", "no room for files"],
)
def test_disks(
    speckle: Speckle, frames_settings: Path, tmp_path: Path, options: str, why: str, remedy: str
) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    with mounted(disk, options):
        result = speckle("doctor", "--data", disk)
    assert result.exit_code == 1
    assert levels(result.stdout)["data directory"] == "BROKEN", result.stdout
    told = result.stdout[result.stdout.index("data directory:") :]
    assert why in told and remedy in told


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


def test_a_package_that_does_not_fit_an_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ['ophyd>=999; extra == "sim"', 'h5py>=1; extra == "sim"', 'no-such-package; extra == "sim"']
    monkeypatch.setattr(metadata, "requires", lambda name: needed)
    (found,) = [one for one in examine_installation() if "as the extra sim wants it" in one.text]
    assert (found.subject, found.level) == ("packages", Level.NOTE)
    assert found.remedy == "pip install 'ophyd>=999'"


def test_a_gpu_whose_driver_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, speckle: Speckle) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\necho Driver/library version mismatch; exit 18\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    result = speckle("doctor", "--data", tmp_path / "data")
    assert levels(result.stdout)["GPU"] == "note"
    assert "version mismatch" in result.stdout and "mend the driver" in result.stdout
