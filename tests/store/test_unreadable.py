"""Frames that the server can't read: it says why and what to do, and commands show that as one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import h5py
import numpy as np
import pytest
import tifffile
from bluesky import RunEngine
from typer.testing import CliRunner

from speckle_plugin.cli.main import app
from speckle_plugin.frames.reader import FrameReadError
from speckle_plugin.store import RunSaver, StoredRun, TiledStore, find_frames
from speckle_plugin.store.server.join import wait_until_ended
from tests.testing import FakeClassifier, documents_of, good
from tests.testing.camera import GivenCamera
from tests.testing.processes import without_rights_of_root

DATASET = "/entry/data/data"


@pytest.fixture
def run(store: TiledStore) -> Iterator[str]:
    """A run of three frames, one HDF5 file each."""
    uid = os.urandom(8).hex()
    saver = RunSaver(store.runs, store.journal_directory)
    for name, doc in documents_of(uid, [1, 2, 3], store.frames_directory):
        saver(name, doc)
    saver.close()
    assert saver.failures == {}
    yield uid


def reason(store: TiledStore, uid: str, index: int = 0) -> tuple[int, str]:
    """Give how the server answers who reads a frame, and what StoredRun makes of it."""
    stored = StoredRun(store.runs[uid])
    with pytest.raises(FrameReadError) as error:
        list(stored.images_of("det_image").read([index]))
    assert "http" not in str(error.value) and "\n" not in str(error.value)
    cause: Any = error.value.__cause__
    return cause.response.status_code, str(error.value)


def files_of(store: TiledStore, uid: str) -> list[Path]:
    return [store.frames_directory / f"{uid}-{number}.h5" for number in range(3)]


def test_a_file_that_was_deleted(store: TiledStore, run: str) -> None:
    files = files_of(store, run)
    files[1].rename(files[1].with_suffix(".aside"))
    status, why = reason(store, run, 1)
    assert status == 404
    assert why == (
        f"the Tiled server can't give frame 1 of det_image: there is no file {files[1]} any more: if it was "
        "deleted or moved, put it back there"
    )
    images = StoredRun(store.runs[run]).images_of("det_image")
    assert next(images.read([2]))[0, 0] == 2, "the others are read"
    for path in files:
        path.unlink(missing_ok=True)
    status, why = reason(store, run)
    assert status == 404 and f"no file {store.frames_directory}/{run}-" in why


def test_a_dataset_that_is_not_there(store: TiledStore, run: str) -> None:
    path = files_of(store, run)[2]
    with h5py.File(path, "w") as file:
        file["elsewhere"] = np.zeros((1, 8, 6))
    status, why = reason(store, run, 2)
    assert status == 404 and f"{path} holds no dataset" in why and "elsewhere (1, 8, 6)" in why


@pytest.mark.parametrize("content", [b"", b"no HDF5 file at all", b"\x89HDF\r\n\x1a\n" + bytes(90)])
def test_a_damaged_file(store: TiledStore, run: str, content: bytes) -> None:
    path = files_of(store, run)[1]
    path.write_bytes(content)
    status, why = reason(store, run, 1)
    assert status == 409 and str(path) in why and ("damaged" in why or "empty" in why)


def test_a_truncated_file(store: TiledStore, run: str) -> None:
    path = files_of(store, run)[1]
    path.write_bytes(path.read_bytes()[:-64])
    status, why = reason(store, run, 1)
    assert status == 409 and f"{path} is truncated" in why


def test_a_filter_that_nobody_has(store: TiledStore, run: str) -> None:
    """A file of a private compression filter, as a beamline's own plugin writes it."""
    path = files_of(store, run)[1]
    with h5py.File(path, "w") as file:
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((1, 8, 6))
        settings.set_filter(500, h5py.h5z.FLAG_OPTIONAL, (1,))
        space = h5py.h5s.create_simple((1, 8, 6))
        group = file.create_group("/entry/data")
        data = h5py.h5d.create(group.id, b"data", h5py.h5t.IEEE_F32LE, space, settings)
        # As HDF5 writes a chunk whose filter it has: mask 0, so that reading needs the filter.
        data.write_direct_chunk((0, 0, 0), np.ones((1, 8, 6), "<f4").tobytes(), 0)
    status, why = reason(store, run, 1)
    assert status == 409 and "compressed by filter 500" in why and "HDF5_PLUGIN_PATH" in why


def test_a_file_that_is_locked(store: TiledStore, run: str) -> None:
    """As by an AreaDetector without SWMR."""
    path = files_of(store, run)[1]
    with h5py.File(path, "r+"):
        status, why = reason(store, run, 1)
    assert status == 409 and "is open for writing in another program" in why and "SWMR" in why
    assert next(StoredRun(store.runs[run]).images_of("det_image").read([1]))[0, 0] == 1


NOT_READABLE = """
import sys
from pathlib import Path
from tests.store.test_unreadable import files_of, reason
from speckle_plugin.store import RunSaver, TiledStore
from tests.testing import documents_of

with TiledStore(sys.argv[1]) as store:
    saver = RunSaver(store.runs, store.journal_directory)
    for name, doc in documents_of("not-readable", [1, 2, 3], store.frames_directory):
        saver(name, doc)
    saver.close()
    path = files_of(store, "not-readable")[1]
    path.chmod(0)
    print(*reason(store, "not-readable", 1))
"""


def test_a_file_that_may_not_be_read(data_directory: Path) -> None:
    command = without_rights_of_root([sys.executable, "-c", NOT_READABLE, str(data_directory)])
    ended = subprocess.run(
        command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": os.getcwd()}
    )
    path = data_directory / "frames" / "not-readable-1.h5"
    assert ended.stdout.startswith("403 "), ended.stderr
    assert f"may not read {path}: give its user the right" in ended.stdout


def test_a_tiff_that_was_deleted(store: TiledStore) -> None:
    """Other formats are read by Tiled's own adapters."""
    path = store.frames_directory / "single.tif"
    tifffile.imwrite(path, np.ones((8, 6), "<f4"))
    from tiled.structures.array import ArrayStructure
    from tiled.structures.data_source import Asset, DataSource

    source = DataSource(
        "array",
        ArrayStructure.from_array(np.ones((8, 6), "<f4")),
        mimetype="image/tiff",
        management="external",
        assets=[Asset(f"file://localhost{path}", False, "data_uri")],
    )
    client = store.runs.new("array", [source], key=os.urandom(8).hex(), metadata={}, specs=[])
    path.unlink()
    from tiled.client.utils import ClientError

    with pytest.raises(ClientError, match=f"404: there is no file {path} any more"):
        client[:]


def test_a_folder_that_is_not_mounted_yet(data_directory: Path, tmp_path: Path) -> None:
    folder = tmp_path / "not there"
    with TiledStore(data_directory, frame_folders=[folder]) as store:
        assert store.served_folders == (store.frames_directory, folder)
        assert not store.is_read_only


@pytest.fixture
def measured_elsewhere(data_directory: Path, tmp_path: Path, run_engine: RunEngine) -> str:
    """A run whose detector wrote elsewhere, labelled; its data directory is closed again."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    with TiledStore(data_directory) as store:
        saver = RunSaver(store.runs, store.journal_directory)
        frames = np.random.default_rng(0).exponential(100.0, (3, 65, 65)).astype(np.float32)
        camera: Any = GivenCamera("det", elsewhere, frames, {"beam_center": [0.0, 0.0]})
        run_engine.subscribe(FakeClassifier(saver, (good(7),), "mono"))
        result: Any = run_engine(bp.count([camera], 3))
        saver.close()
        return str(result.run_start_uids[0])


Command = Callable[..., Any]


def test_a_folder_that_is_not_served(
    data_directory: Path, tmp_path: Path, measured_elsewhere: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused with the remedy, which is followed then."""
    uid = measured_elsewhere
    monkeypatch.setenv("COLUMNS", "600")  # a table of frames breaks no line there
    with TiledStore(data_directory) as store:
        assert len(find_frames(store.runs, label=7)) == 3
        status, why = reason(store, uid)
        assert status == 403
        assert f"file://localhost{tmp_path}/elsewhere/det-" in why and "outside of the folders" in why
        assert "have the detector write below them, or name its folder in the setting" in why
        commands: list[tuple[str, ...]] = [
            ("query", "--frames", "--label", "7", "--out", f"{tmp_path}/sevens.h5"),
            ("explain", "--run", uid, "--out", f"{tmp_path}/why.png"),
            ("complete", uid, "--all"),
            ("solve", uid, "--all", "--workers", "1"),
        ]
        for command in commands:
            shown = CliRunner().invoke(app, [*command, "--data", str(data_directory)])
            assert "in the setting frame_folders" in " ".join(shown.output.split()), command
            assert "Traceback" not in shown.output and "http" not in shown.output, command
            tried_again = f"tried again: speckle complete {uid[:8]}" in shown.output
            assert tried_again == (command[0] == "complete")
    assert wait_until_ended(data_directory, 60)
    monkeypatch.setenv("SPECKLE_FRAME_FOLDERS", str(tmp_path / "elsewhere"))
    out = tmp_path / "sevens.h5"
    shown = CliRunner().invoke(app, ["query", *commands[0][1:], "--data", str(data_directory)])
    assert shown.exit_code == 0 and "3 rows" in shown.output, shown.output
    with h5py.File(out) as file:
        assert "entry" in file
    monkeypatch.delenv("SPECKLE_FRAME_FOLDERS")
    assert wait_until_ended(data_directory, 60)
    with TiledStore(data_directory) as store:  # which the data directory remembers
        assert len(list(StoredRun(store.runs[uid]).images_of("det_image").read([0, 1, 2]))) == 3
