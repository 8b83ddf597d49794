"""Who labels which run: locked files, in a folder that workers and commands share.

A run is held by one process alone, or by several that do parts of it. The kernel gives a lock back when its
process dies, however it dies, so that another one can take over.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from urllib.parse import quote

from speckle_plugin.store.lock import lock_file

__all__ = ["RunLease", "RunLeases"]


class RunLease:
    """The right to label a run, until `release` or the end of the process."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def take_alone(self) -> bool:
        """Make of a shared lease one that nobody else has; where others share the run, it is lost."""
        if lock_file(self._file) and _is_at(self._file, self._path):
            return True
        self._file.close()
        return False

    def release(self) -> None:
        """Give the run free."""
        if self._file.closed:
            return
        if lock_file(self._file) and _is_at(self._file, self._path):  # nobody shares it
            self._path.unlink(missing_ok=True)  # before the lock goes, so that nobody waits for a lost file
        self._file.close()


class RunLeases:
    """The leases of a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there. On a disk of several machines, its file system must have locks.

    Attributes
    ----------
    folder : Path
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    def take(self, name: str, *, shared: bool = False) -> RunLease | None:
        """Take a run, or a part of one, alone or together with others; None if somebody has it.

        Raises
        ------
        StorageError
            If the file system has no locks.
        """
        path = self.folder / f"{quote(name, safe='')}.lease"
        while True:
            file = path.open("a+b")
            try:
                if not lock_file(file, shared=shared):
                    file.close()
                    return None
            except BaseException:
                file.close()
                raise
            if _is_at(file, path):
                return RunLease(path, file)
            file.close()  # the one before has just removed it: the lock is on a file that nobody finds

    @contextmanager
    def holding(self, name: str, *, shared: bool = False) -> Iterator[RunLease | None]:
        """Hold a run in a block; gives None if somebody else has it."""
        lease = self.take(name, shared=shared)
        try:
            yield lease
        finally:
            if lease is not None:
                lease.release()


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
