"""Data directories that can't be written, such as read-only copies and mounted archives: opened for reading.

SQLite, DuckDB and Tiled write also for those who only read. `working_copy` gives a data directory of the
user's own, in the folder of caches, with a copy of the archive's catalog and tables; its frames and arrays
are links to the archive's, and stay where they are. Its server refuses to write, since what was written there
would be lost with the copy.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from speckle_plugin.store.lock import StorageError, is_held, lock_file, read_owner

__all__ = ["archive_of", "is_archive", "refusal", "working_copy"]

DATABASES = ("catalog.db", "catalog.db-wal", "storage.duckdb", "storage.duckdb.wal")
NOTES = ("location.json", "frame_folders.json")
LINKS = ("frames", "tiled/data")

logger = logging.getLogger(__name__)

PATIENCE = 45.0
"""Seconds to wait for the server of an archive to end, which it does 30 after its last user has left."""

LOOK_INTERVAL = 0.1
"""Seconds between looking whether it has."""

UNUSED = 30 * 24 * 3600.0
"""Seconds after which copies that nobody opened are removed."""


def is_archive(root: Path) -> bool:
    """Tell whether a data directory holds runs and can't be written."""
    tiled = root / "tiled"
    with suppress(OSError):
        parts = [root, tiled, *(path for name in DATABASES if (path := tiled / name).exists())]
        return (tiled / "catalog.db").exists() and not all(os.access(path, os.W_OK) for path in parts)
    return False


def archive_of(root: Path) -> Path | None:
    """Give the archive that a data directory is the working copy of; None if it is none."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        return Path(json.loads(_note(root).read_text(encoding="utf-8"))["archive"])
    return None


def refusal(archive: Path) -> str:
    """Say why nothing is written."""
    return (
        f"the data directory {archive} can't be written, and is open for reading only: to measure, label or "
        "solve there get the right to write, or copy it to a place of your own (cp -r) and open the copy"
    )


def working_copy(archive: Path) -> Path:
    """Give the data directory by which an archive is read; it is made where it is not there, or older.

    Parameters
    ----------
    archive : Path
        Resolved.

    Raises
    ------
    StorageError
        If somebody has the archive open for writing, it may not be read, or there is no room for a copy.
    """
    _check_unused(archive)
    folder = _folder()
    # Without characters that an address or DuckDB would not take.
    name = re.sub(r"[^\w.-]", "_", archive.name, flags=re.ASCII)
    copy = folder / f"{name}-{hashlib.sha256(os.fsencode(archive)).hexdigest()[:16]}"
    state = _state(archive)
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.stat().st_uid != os.getuid():
            raise PermissionError(f"{folder} belongs to somebody else")
        with (folder / "copying").open("a+b") as copying:
            while not lock_file(copying):
                time.sleep(0.05)
            _remove_unused(folder)
            if _read_state(copy) == state or is_held(copy):
                return copy
            _make(archive, copy, state)
    except PermissionError as error:
        raise StorageError(f"the data directory {archive} may not be read by you: {error}") from error
    except OSError as error:
        raise StorageError(
            f"the data directory {archive} can't be written, and no copy of its catalog can be made in "
            f"{folder} ({error}): make room there, or name another folder in the environment: XDG_CACHE_HOME"
        ) from error
    return copy


def _check_unused(archive: Path) -> None:
    """See that nobody writes while the databases are copied; wait for a server that its users have left."""
    end = time.monotonic() + PATIENCE
    told = False
    while _may_be_written(archive):
        if time.monotonic() > end or _has_users(archive):
            owner = read_owner(archive) or "another process"
            raise StorageError(
                f"the data directory {archive} is open in {owner}, and you may not write there: read it when "
                "that is done, or ask its user for a copy"
            )
        if not told:
            logger.info("waiting for the Tiled server of %s, which nobody uses, to end", archive)
            told = True
        time.sleep(LOOK_INTERVAL)


def _may_be_written(archive: Path) -> bool:
    try:
        return is_held(archive)
    except OSError:  # file systems of archives may have no locks; nobody writes there then
        return False


def _has_users(archive: Path) -> bool:
    """Tell whether a process has a lease of a directory, or may have: older versions gave none."""
    try:
        with (archive / "tiled" / "users").open("rb") as users:
            # A server that ends keeps it locked for itself, so that nobody comes meanwhile.
            return not lock_file(users) and lock_file(users, shared=True)
    except FileNotFoundError:
        return True


def _folder() -> Path:
    """Give the folder of copies, of this user only."""
    caches = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    existing = next(path for path in (caches, *caches.parents) if path.exists())
    if os.access(existing, os.W_OK):
        return caches / "speckle" / "archives"
    return Path(tempfile.gettempdir()) / f"speckle-archives-{os.getuid()}"


def _make(archive: Path, copy: Path, state: Any) -> None:
    if copy.exists():
        shutil.rmtree(copy)
    copy.mkdir(mode=0o700)
    (copy / "tiled").mkdir(mode=0o700)
    for name in (*DATABASES, *NOTES):
        with suppress(FileNotFoundError):
            shutil.copyfile(archive / "tiled" / name, copy / "tiled" / name)
    for name in LINKS:
        if (archive / name).is_dir():
            (copy / name).symlink_to(archive / name, target_is_directory=True)
    _note(copy).write_text(json.dumps({"archive": str(archive), "state": state}), encoding="utf-8")


def _note(copy: Path) -> Path:
    return copy / "archive.json"


def _state(archive: Path) -> list[list[Any]]:
    """Give what shows that the archive is the one that was copied."""
    state = []
    for name in DATABASES:
        with suppress(FileNotFoundError):
            found = (archive / "tiled" / name).stat()
            state.append([name, found.st_size, found.st_mtime_ns])
    return state


def _read_state(copy: Path) -> Any:
    with suppress(OSError, ValueError, KeyError, TypeError):
        return json.loads(_note(copy).read_text(encoding="utf-8"))["state"]
    return None


def _remove_unused(folder: Path) -> None:
    for copy in folder.iterdir():
        users = copy / "tiled" / "users"  # touched by each who opens it
        with suppress(OSError):
            if users.exists() and time.time() - users.stat().st_mtime > UNUSED and not is_held(copy):
                shutil.rmtree(copy)
