"""The documents of one run as lines of JSON, written before anything else is done with them.

A journal survives the death of this process and of the Tiled server (not a power cut: it
is not forced to disk). `replay` makes a run of it again.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, cast

import event_model

from speckle_plugin.store.lock import StorageError, lock_file

__all__ = ["Document", "Journal", "held_journal", "journal_files", "read_journal"]

logger = logging.getLogger(__name__)

Document = tuple[str, dict[str, Any]]
"""Name and contents, as bluesky's callbacks get them."""


class Journal:
    """The journal of a run that is being measured, `<uid of the run>.jsonl`.

    It stays locked until it is closed or the process ends, which tells `replay` that the
    run is still being measured.

    Parameters
    ----------
    directory : Path
        Where journals are; made if it is not there.
    uid : str
        The run.

    Raises
    ------
    OSError
        If the file cannot be made.
    """

    def __init__(self, directory: Path, uid: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / f"{uid}.jsonl"
        # "x", since another file of this name can only be this run's earlier part.
        self._file = self.path.open("x", encoding="utf-8", buffering=1)
        if not lock_file(self._file):
            self._file.close()
            raise OSError(f"{self.path} is held by another process")

    def append(self, name: str, doc: Mapping[str, Any]) -> None:
        """Add a document, at once visible to other processes.

        Raises
        ------
        OSError
            If it cannot be written.
        TypeError
            If it holds what JSON cannot express. Nothing is written then.
        """
        self._file.write(encode(name, doc) + "\n")

    def close(self) -> None:
        """Close the file and keep it."""
        # On a full disk closing fails again with what `append` has already failed with.
        with suppress(OSError):
            self._file.close()

    def remove(self) -> None:
        """Delete the file, when the run is safe elsewhere."""
        self.path.unlink(missing_ok=True)
        self.close()


def encode(name: str, doc: Mapping[str, Any]) -> str:
    """Write a document as one line of JSON, numpy's scalars and arrays as plain ones.

    NaN and infinities are written as Python reads them, so that they come back the same.
    """
    return json.dumps({"name": name, "doc": doc}, cls=event_model.NumpyEncoder)


def journal_files(path: str | os.PathLike[str]) -> list[Path]:
    """Give the journals at a path, which is one or a directory of them.

    Raises
    ------
    StorageError
        If there is nothing at the path.
    """
    path = Path(path)
    if path.is_dir():
        return sorted(path.glob("*.jsonl"))
    if not path.is_file():
        raise StorageError(f"{path} is neither a journal (*.jsonl) nor a directory of journals")
    return [path]


@contextmanager
def held_journal(path: Path) -> Iterator[bool]:
    """Hold a journal, so that nobody else writes or replays it; False if somebody does."""
    with path.open("r+", encoding="utf-8") as file:
        yield lock_file(file)


def read_journal(path: Path) -> list[Document]:
    """Read the documents of a run.

    Parameters
    ----------
    path : Path
        The journal. A last line that was cut off by the death of its writer is left out.

    Raises
    ------
    StorageError
        If it is damaged elsewhere, or does not begin with a start document.
    """
    documents: list[Document] = []
    lines = path.read_text(encoding="utf-8").split("\n")
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            entry = json.loads(line)
            documents.append((entry["name"], cast("dict[str, Any]", entry["doc"])))
        except (ValueError, KeyError, TypeError) as error:
            if number == len(lines):
                logger.warning("the last line of %s is cut off; what it held is lost", path)
                break
            raise StorageError(
                f"line {number} of the journal {path} is not a document ({error}); remove that line to "
                "replay the others"
            ) from error
    if not documents or documents[0][0] != "start":
        raise StorageError(f"the journal {path} does not begin with a start document; there is no run in it")
    return documents
