"""Data directories that can't be written: a read-only mount, and a copy without the right to write."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from bluesky import RunEngine
from tiled.client.utils import ClientError
from typer.testing import CliRunner, Result

from speckle_plugin.cli import app
from speckle_plugin.session import start_session
from speckle_plugin.store import StorageError, StoredRun, TiledStore, find_frames
from speckle_plugin.store.lock import DirectoryLock, Lease, lock_file
from tests.testing.disks import mounted_read_only
from tests.testing.processes import without_rights_of_root
from tests.testing.stored_runs import measure

FRAMES = 3


@pytest.fixture
def measured(data_directory: Path, run_engine: RunEngine) -> str:
    """A run in a data directory that is closed again, solved for its disks; gives its uid."""
    with TiledStore(data_directory) as store:
        uid = measure(run_engine, store, FRAMES)
    assert speckle("solve", uid, "--data", data_directory, "--workers", 1).exit_code == 0
    return uid


@pytest.fixture
def archive(
    data_directory: Path, measured: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """That directory at another place, where nothing can be written."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    place = tmp_path / "archive"
    place.mkdir()
    with mounted_read_only(data_directory, place):
        yield place


def speckle(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def contents(folder: Path) -> dict[Path, tuple[int, int]]:
    return {path: (path.stat().st_size, path.stat().st_mtime_ns) for path in sorted(folder.rglob("*"))}


def test_runs_of_an_archive_are_read(archive: Path, measured: str, caplog: pytest.LogCaptureFixture) -> None:
    before = contents(archive)
    with TiledStore(archive) as store, TiledStore(archive) as another:
        assert store.is_read_only and "(read only)" in repr(store) and store.uri == another.uri
        assert f"{archive} can't be written: it is open for reading only" in caplog.text
        found = find_frames(store.runs, with_frames=True)
        assert len(found) == FRAMES and set(found["certificate"]) == {"solved"}
        images = StoredRun(store.runs[measured]).images_of("det_image")
        for frame, again in zip(found["frame"], images.read([0, 1, 2]), strict=True):
            assert frame.any() and np.array_equal(frame, again)
        assert len(list(another.runs[measured].documents())) > FRAMES
    assert contents(archive) == before


def test_nothing_is_written_to_an_archive(archive: Path, measured: str) -> None:
    why = f"the data directory {archive} can't be written, and is open for reading only"
    with TiledStore(archive) as store:
        run = store.runs[measured]
        changes = (
            lambda: run.update_metadata({"sample": "A7"}),
            lambda: store.runs.create_container("more"),
            lambda: store.runs.delete_contents(measured, recursive=True, external_only=False),
        )
        for change in changes:
            with pytest.raises(ClientError, match=f"403: {why}"):
                change()
        for folder in ("frames_directory", "journal_directory", "leases_directory"):
            with pytest.raises(StorageError, match=why):
                getattr(store, folder)
    with pytest.raises(StorageError, match=why):
        start_session(archive)


def test_commands_on_an_archive(archive: Path, measured: str, tmp_path: Path) -> None:
    data = ("--data", archive)
    for command in (
        ("query", "--frames", "--out", tmp_path / "frames.h5", *data),
        ("report", measured, "--out", tmp_path / "report.html", *data),
        ("solve", measured, "--out", tmp_path / "disks.csv", *data),  # which are solved already
    ):
        shown = speckle(*command)
        assert shown.exit_code == 0, (command, shown.output)
    assert (tmp_path / "disks.csv").read_text().count("solved") == FRAMES
    for refused in (
        ("complete", measured),
        ("replay",),
        ("worker", "--once"),
        ("solve", measured, "--all"),
    ):
        shown = speckle(*refused, *data)
        assert shown.exit_code == 2, (refused, shown.output)
        said = [line for line in shown.stderr.splitlines() if line.startswith("Error: ")]
        assert len(said) == 1 and "is open for reading only" in said[0] and "http" not in said[0]
    found = speckle("doctor", *data)
    assert f"{archive} can't be written: its runs can be read" in " ".join(found.stdout.split())


def test_a_copy_is_made_anew_when_the_archive_has_changed(
    archive: Path, data_directory: Path, run_engine: RunEngine, tmp_path: Path
) -> None:
    with TiledStore(archive) as store:
        assert len(store.runs) == 1
    (copy,) = (path for path in (tmp_path / "cache/speckle/archives").iterdir() if path.is_dir())
    made = (copy / "archive.json").stat().st_mtime_ns
    with TiledStore(archive):
        assert (copy / "archive.json").stat().st_mtime_ns == made
    with TiledStore(data_directory) as store:
        measure(run_engine, store, 1)
    with TiledStore(archive) as store:
        assert len(store.runs) == 2
        assert len(find_frames(store.runs)) == FRAMES + 1


def test_an_archive_that_somebody_writes(archive: Path, data_directory: Path) -> None:
    lock = DirectoryLock(data_directory)
    user = Lease(data_directory / "tiled" / "users")
    with pytest.raises(StorageError, match=rf"{archive} is open in process {os.getpid()}"):
        TiledStore(archive)
    user.release()
    lock.release()


@pytest.mark.parametrize("ends", [False, True], ids=["idle", "ending"])
def test_an_archive_whose_server_nobody_uses_any_more(
    archive: Path, data_directory: Path, caplog: pytest.LogCaptureFixture, ends: bool
) -> None:
    lock = DirectoryLock(data_directory)
    users = (data_directory / "tiled" / "users").open("a+b")
    if ends:
        assert lock_file(users)  # as a server does, so that nobody comes meanwhile

    def end() -> None:
        users.close()
        lock.release()

    threading.Timer(0.5, end).start()
    with caplog.at_level("INFO"), TiledStore(archive) as store:
        assert len(store.runs) == 1
    assert caplog.text.count(f"waiting for the Tiled server of {archive}, which nobody uses") == 1


READ = """
import sys
from speckle_plugin.store import StoredRun, TiledStore, find_frames

with TiledStore(sys.argv[1]) as store:
    (run,) = store.runs.values()
    frames = list(StoredRun(run).images_of("det_image").read([0, 2]))
    print(store.is_read_only, len(find_frames(run)), len(frames))
"""


def test_a_copy_without_the_right_to_write(data_directory: Path, measured: str, tmp_path: Path) -> None:
    copy = tmp_path / "what? a copy"  # a question mark, which DuckDB can't have in a path
    shutil.copytree(data_directory, copy)
    for path in [*copy.rglob("*"), copy]:
        path.chmod(path.stat().st_mode & ~0o222)
    command = without_rights_of_root([sys.executable, "-c", READ, str(copy)])
    environment = os.environ | {"PYTHONPATH": os.getcwd(), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    for path in [copy, *copy.rglob("*")]:  # so that it can be removed
        path.chmod(path.stat().st_mode | 0o200)
    assert ended.stdout == f"True {FRAMES} 2\n", ended.stderr
