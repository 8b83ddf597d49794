"""One process at a time on a data directory, and the error that storage raises.

Use `DirectoryLock` before anything in a data directory is opened for writing: DuckDB
refuses a second process with a message that names neither the directory nor the owner.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import IO, Any

__all__ = ["DirectoryLock", "StorageError", "lock_file"]


class StorageError(OSError):
    """Runs cannot be stored or read; the message says what to do about it."""


def lock_file(file: IO[Any]) -> bool:
    """Take the exclusive lock of an open file without waiting.

    The kernel gives the lock back when the file is closed or the process dies, however
    it dies, so a lock never outlives its owner.

    Returns
    -------
    bool
        False when another open file, of this process or another one, holds the lock.
    """
    try:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class DirectoryLock:
    """The right to write in a directory, held until `release`.

    Parameters
    ----------
    directory : Path
        The directory; the file `lock` in it says who holds the lock.

    Raises
    ------
    StorageError
        If the directory is in use; the message names the process.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        # "a+" neither truncates what the owner wrote nor follows another one's deletion:
        # the file is never removed, or two processes could lock two files of one name.
        self._file = (directory / "lock").open("a+", encoding="utf-8")
        if not lock_file(self._file):
            owner = self._owner()
            self._file.close()
            raise StorageError(
                f"the data directory {directory} is already open in {owner}. One process writes in it at a "
                "time: end that one, choose another directory, or read its runs from here while it runs, "
                "by its profile: speckle_plugin.store.connect(<profile>)"
            )
        self._file.truncate(0)
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        json.dump({"pid": os.getpid(), "host": socket.gethostname(), "since": now}, self._file)
        self._file.flush()

    def _owner(self) -> str:
        try:
            self._file.seek(0)
            owner = json.load(self._file)
            here = " (this process)" if owner["pid"] == os.getpid() else ""
            return f"process {owner['pid']}{here} on {owner['host']}, since {owner['since']}"
        except (ValueError, KeyError):  # between its locking and its writing
            return "another process"

    def release(self) -> None:
        """Give the directory free."""
        if not self._file.closed:
            # Explicitly, since a forked child may hold a copy of the open file.
            fcntl.flock(self._file.fileno(), fcntl.LOCK_UN)
            self._file.close()
