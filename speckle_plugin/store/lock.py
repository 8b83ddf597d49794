"""Locks on files, which die with their process, and the error that storage raises.

`lock_file` locks an open file. `DirectoryLock` is the right to write in a data directory, which its
server holds; `Lease` says that a process uses the directory, and any number may hold one.
"""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
import weakref
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple

__all__ = [
    "DirectoryLock",
    "Lease",
    "Owner",
    "StorageError",
    "is_held",
    "lock_file",
    "read_owner",
    "unlock_file",
]

PATIENCE = 10.0
"""Seconds that a lease waits for a server that is just ending."""


class StorageError(OSError):
    """Runs cannot be stored or read; the message says what to do about it."""


def lock_file(file: IO[Any], *, shared: bool = False) -> bool:
    """Lock an open file without waiting, for itself or together with others that share it.

    The kernel gives the lock back when the file is closed or the process dies, however
    it dies, so a lock never outlives its owner.

    Returns
    -------
    bool
        False when another open file, of this process or another one, holds the lock.

    Raises
    ------
    StorageError
        If the file system has no locks, as some network file systems.
    """
    try:
        fcntl.flock(file.fileno(), (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        raise StorageError(
            f"the file system of {file.name} gives no locks ({error.strerror}), so that two servers could "
            "write at once: put the data directory on a local disk, or mount the file system with locks; "
            "other machines then read and write by the server of the one that has the disk"
        ) from error
    return True


def unlock_file(file: IO[Any]) -> None:
    """Give a lock back, also where a forked process has a copy of the open file."""
    fcntl.flock(file.fileno(), fcntl.LOCK_UN)


class Owner(NamedTuple):
    """Who holds the right to write in a directory, as it said itself."""

    pid: int
    host: str
    since: str
    version: str | None
    """None for a version before 0.2, whose server was inside of the measuring process."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}"


def _lock_path(directory: Path) -> Path:
    return directory / "lock"


def is_held(directory: Path) -> bool:
    """Tell whether some process has the right to write in a directory now.

    Raises
    ------
    StorageError
        If the file system has no locks.
    """
    try:
        with _lock_path(directory).open("rb") as file:
            return not lock_file(file, shared=True)
    except FileNotFoundError:
        return False


def read_owner(directory: Path) -> Owner | None:
    """Give who took the right to write in a directory last, which may be over; None if nobody said so."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        said = json.loads(_lock_path(directory).read_text(encoding="utf-8"))
        return Owner(int(said["pid"]), said["host"], said["since"], said.get("version"))
    return None


class DirectoryLock:
    """The right to write in a directory, held until `release`.

    Parameters
    ----------
    directory : Path
        The directory; the file `lock` in it says who holds the lock.
    patience : float
        Seconds to wait for one who only looks whether it is held.

    Raises
    ------
    StorageError
        If the directory is in use; the message names the process.
    """

    def __init__(self, directory: Path, patience: float = 0.0) -> None:
        # "a+" neither truncates what the owner wrote nor follows another one's deletion:
        # the file is never removed, or two processes could lock two files of one name.
        self._file = _lock_path(directory).open("a+", encoding="utf-8")
        try:
            end = time.monotonic() + patience
            while not lock_file(self._file):
                if time.monotonic() >= end:
                    owner = read_owner(directory) or "another process"
                    raise StorageError(
                        f"the data directory {directory} is already open in {owner}: end that one, or "
                        "choose another directory"
                    )
                time.sleep(0.02)
        except BaseException:
            self._file.close()
            raise
        self._file.truncate(0)
        now, installed = time.strftime("%Y-%m-%d %H:%M:%S"), version("speckle-plugin")
        owner = Owner(os.getpid(), socket.gethostname(), now, installed)
        json.dump(owner._asdict(), self._file)
        self._file.flush()

    def release(self) -> None:
        """Give the directory free."""
        if not self._file.closed:
            unlock_file(self._file)
            self._file.close()


class Lease:
    """Tells the server of a directory that this process uses it, until `release` or the process's end.

    A forked copy of the process has no lease: it must not keep the server alive.

    Parameters
    ----------
    path : Path
        The file of leases.

    Raises
    ------
    StorageError
        If the file is locked for long, which only a server does that is ending.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("a+b")
        end = time.monotonic() + PATIENCE
        try:
            while not lock_file(self._file, shared=True):
                if time.monotonic() > end:
                    raise StorageError(f"{path} is locked by a server that does not end: kill it, try again")
                time.sleep(0.02)
        except BaseException:
            self._file.close()
            raise
        _leases.add(self)

    def release(self) -> None:
        """Give the lease back."""
        if not self._file.closed:
            unlock_file(self._file)
            self._file.close()

    def drop(self) -> None:
        """Close this process's copy of the file; the lease stays with the others that have it."""
        self._file.close()


_leases: weakref.WeakSet[Lease] = weakref.WeakSet()


def _drop_leases() -> None:
    for lease in list(_leases):
        lease.drop()


os.register_at_fork(after_in_child=_drop_leases)
