"""Which worker has which run: a locked file for each run, in a folder that the workers share.

The kernel gives a lock back when its process dies, however it dies, so that another worker can take the run.
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
    """The right to classify a run, until `release` or the end of the process."""

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path, self._file = path, file

    def release(self) -> None:
        """Give the run free."""
        if not self._file.closed:
            self._path.unlink(missing_ok=True)  # before the lock goes, so that nobody waits for a lost file
            self._file.close()


class RunLeases:
    """The leases of a folder.

    Parameters
    ----------
    folder : Path
        Made if it is not there. On a disk of several machines, its file system must have locks.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def take(self, uid: str) -> RunLease | None:
        """Take a run; None if somebody has it.

        Raises
        ------
        StorageError
            If the file system has no locks.
        """
        path = self._folder / f"{quote(uid, safe='')}.lease"
        while True:
            file = path.open("ab")
            try:
                if not lock_file(file):
                    file.close()
                    return None
            except BaseException:
                file.close()
                raise
            if _is_at(file, path):
                return RunLease(path, file)
            file.close()  # the one before has just removed it: the lock is on a file that nobody finds

    @contextmanager
    def holding(self, uid: str) -> Iterator[bool]:
        """Hold a run in a block, if nobody else does; tell whether."""
        lease = self.take(uid)
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.release()


def _is_at(file: IO[bytes], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False
