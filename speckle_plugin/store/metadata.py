"""Metadata of all runs, `RE.md`, kept in the data directory: sample, proposal and user outlive the session.

Any number of processes may have it open; what one sets, the others have in their next run. bluesky's
PersistentDict needs another package, and is for one process.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from speckle_plugin.schema import CLASSIFIED_HERE
from speckle_plugin.store.lock import StorageError, lock_file

__all__ = ["SharedMetadata"]

OF_ONE_PROCESS = ("versions", CLASSIFIED_HERE)
"""Keys that say something of this process, and are not kept."""

SCAN_ID = "scan_id"

PATIENCE = 10.0
"""Seconds to wait for another process that writes."""


class SharedMetadata(MutableMapping[str, Any]):
    """A mapping in a JSON file. Set whole values: what is changed inside of one is not kept.

    Parameters
    ----------
    path : Path
        The file; it is made when something is set.
    of_one_process : collection of str
        Keys that are in memory only.

    Raises
    ------
    StorageError
        If the file can't be read; also later, if it can't be read or written.

    Examples
    --------
    >>> RE.md["sample"] = {"name": "A7", "holder": 3}
    """

    def __init__(self, path: Path, of_one_process: Collection[str] = OF_ONE_PROCESS) -> None:
        self._path = path
        self._of_one_process = frozenset(of_one_process)
        self._own: dict[str, Any] = {}
        self._kept: dict[str, Any] = {}
        self._known: tuple[int, ...] = ()
        self._read()

    def next_scan_id(self, _: Mapping[str, Any] | None = None) -> int:
        """Count scans over all processes: the `scan_id_source` of a RunEngine."""
        with self._writing() as kept:
            kept[SCAN_ID] = int(kept.get(SCAN_ID, 0)) + 1
            return kept[SCAN_ID]

    def raise_scan_id(self, least: int) -> None:
        """Have scan ids go on after one that is stored already."""
        if self.get(SCAN_ID, 0) < least:
            self[SCAN_ID] = least

    def __getitem__(self, key: str) -> Any:
        """Give a value, as it is now in the file."""
        return self._own[key] if key in self._of_one_process else self._read()[key]

    def __setitem__(self, key: str, value: Any) -> None:
        """Set a value.

        Raises
        ------
        TypeError
            If JSON has nothing for it.
        """
        if key in self._of_one_process:
            self._own[key] = value
            return
        plain = _plain(key, value)
        with self._writing() as kept:
            kept[key] = plain

    def __delitem__(self, key: str) -> None:
        """Remove a value."""
        if key in self._of_one_process:
            del self._own[key]
            return
        with self._writing() as kept:
            del kept[key]

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return iter([*self._read(), *self._own])

    def __len__(self) -> int:
        """Give the number of keys."""
        return len(self._read()) + len(self._own)

    def __repr__(self) -> str:
        """Show it as a dictionary."""
        return repr(dict(self))

    def _read(self) -> dict[str, Any]:
        """Read the file, if it is another one than before."""
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            self._kept, self._known = {}, ()
            return self._kept
        known = (found.st_ino, found.st_mtime_ns, found.st_size)
        if known != self._known:
            try:
                kept = json.loads(self._path.read_text(encoding="utf-8"))
                if not isinstance(kept, dict):
                    raise ValueError(f"expected a table of names and values, found a {type(kept).__name__}")
            except (OSError, ValueError) as error:
                raise StorageError(
                    f"the metadata of runs {self._path} can't be read: {error}. "
                    "Mend the file, or move it away"
                ) from error
            self._kept, self._known = kept, known
        return self._kept

    @contextmanager
    def _writing(self) -> Iterator[dict[str, Any]]:
        """Give what is in the file, and write it back; no other process writes meanwhile."""
        try:
            with open(f"{self._path}.lock", "a", encoding="utf-8") as lock:
                deadline = time.monotonic() + PATIENCE
                while not lock_file(lock):
                    if time.monotonic() > deadline:
                        raise StorageError(f"another process has held {lock.name} for {PATIENCE:g} s: end it")
                    time.sleep(0.01)
                kept = dict(self._read())
                yield kept
                self._write(kept)
        except StorageError:
            raise
        except OSError as error:
            raise StorageError(f"the metadata of runs {self._path} can't be written: {error}") from error

    def _write(self, kept: Mapping[str, Any]) -> None:
        text = json.dumps(kept, indent=1)
        descriptor, temporary = tempfile.mkstemp(dir=self._path.parent, prefix=f".{self._path.name}-")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(text + "\n")
            os.replace(temporary, self._path)  # whole at once, for those who read
        except OSError:
            with suppress(OSError):
                os.unlink(temporary)
            raise
        self._read()


def _plain(key: str, value: Any) -> Any:
    """Give a value as it will be read again."""

    def simple(unknown: Any) -> Any:
        if isinstance(unknown, np.generic | np.ndarray):
            return unknown.tolist()
        raise TypeError(
            f"the metadata {key!r} can't be kept: expected text, numbers, lists and tables of these, not a "
            f"{type(unknown).__name__}"
        )

    if not isinstance(key, str):
        raise TypeError(f"metadata has names, such as 'sample', not {key!r}")
    return json.loads(json.dumps(value, default=simple))
