"""`RunSaver`, the callback that saves runs: first in a journal, then in Tiled.

Subscribe it behind the live pipeline (or to a RunEngine), and call `flush` from time to
time. A run that Tiled does not take stays in its journal, and measuring goes on; only when
neither can be written does the saver raise, so that no data is lost unnoticed.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from speckle_plugin.documents.open_runs import OpenRuns
from speckle_plugin.store.connection import limit_retries
from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.write.journal import Journal
from speckle_plugin.store.write.outage import Outage
from speckle_plugin.store.write.plain import to_plain

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["REPLAY_COMMAND", "RunSaver"]

logger = logging.getLogger(__name__)

REPLAY_COMMAND = "speckle replay --data {data}"
"""What the user is told to do when a journal was left in a data directory."""


class _Writer(Protocol):
    def __call__(self, name: str, doc: Mapping[str, Any]) -> None: ...

    def flush(self) -> None: ...


class RunSaver:
    """Save the documents of any number of runs, open at once or not.

    Each document is appended to the journal of its run and then handed to Tiled. Rows of
    events and references to frames are collected until `flush` or the end of the run; the
    rest is in Tiled when the call returns. When the stop document is in Tiled, the journal
    is removed. When the server is gone, all runs go to journals only, without waiting, until a
    run starts after it is back. Calls from several threads wait for each other.

    Who calls it from a queue hands each document to `record` before it is queued: then
    the journal holds what has happened, however long Tiled takes.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        Where runs go.
    journal_directory : path
        Where journals are.

    Attributes
    ----------
    failures : dict
        Uid of each run that is not whole in Tiled -> what went wrong and how to mend it.

    Raises
    ------
    StorageError
        From a call or `flush`, when a document is neither in Tiled nor in the journal.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, journal_directory: str | os.PathLike[str]) -> None:
        limit_retries()
        self.failures: dict[str, str] = {}
        self._runs = runs
        self._outage = Outage(runs)
        self._directory = Path(journal_directory)
        self._open: OpenRuns[_OpenRun] = OpenRuns()
        self._lock = threading.RLock()
        self._journal_lock = threading.Lock()

    def record(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append a document to the journal of its run, at once; Tiled gets it by a call later.

        It never raises: a journal that cannot be written is in the log, and the call says so.
        """
        with self._journal_lock:
            if name == "start":
                self._begin(doc).recorded_ahead = True
            for run in self._open.find(name, doc):
                run.record(name, doc)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Save a document."""
        with self._lock:
            runs = self._open.find(name, doc)
            if not runs and name == "start":
                runs = [self._begin(doc)]
            if not runs:
                raise StorageError(
                    f"a document {name!r} came that belongs to no open run ({doc}). Subscribe the saver "
                    "before the run starts, and hand it every document"
                )
            try:
                for run in runs:
                    run(name, doc)
            finally:
                if name == "stop" and (ended := self._open.close(doc["run_start"])) is not None:
                    ended.close()

    def _begin(self, doc: Mapping[str, Any]) -> _OpenRun:
        run = _OpenRun(doc["uid"], self._new_writer, self._outage, self._directory, self.failures)
        return self._open.open(doc["uid"], run)

    def flush(self) -> None:
        """Make all documents so far visible in Tiled.

        To be called when there is nothing else to do, and more than once a second while
        documents come: the cost of a flush hardly depends on how many frames are new.
        """
        lost: StorageError | None = None
        with self._lock:
            for _, run in self._open.items():
                try:
                    run.flush()
                except StorageError as error:  # that one is lost does not cost the others
                    lost = error
        if lost is not None:
            raise lost

    def close(self) -> None:
        """Flush, and let go of runs that have no stop document; their journals stay."""
        with self._lock:
            try:
                self.flush()
            finally:
                for uid, run in self._open.items():
                    logger.warning("the run %s has no stop document; its journal is kept", uid)
                    run.close()
                    self._open.close(uid)

    def _new_writer(self) -> _Writer:
        from speckle_plugin.store.write.run_writer import TiledRunWriter  # imports Tiled

        return TiledRunWriter(self._runs)


class _OpenRun:
    """One run being saved."""

    def __init__(
        self,
        uid: str,
        new_writer: Callable[[], _Writer],
        outage: Outage,
        directory: Path,
        failures: dict[str, str],
    ) -> None:
        self.recorded_ahead = False
        self._started = False
        self._uid = uid
        self._new_writer, self._outage = new_writer, outage
        self._writer: _Writer | None = None
        self._path = directory / f"{uid}.jsonl"
        self._failures = failures
        self._journal: Journal | None = None
        self._whole = True
        self._in_tiled = True
        self._told = False
        try:
            self._journal = Journal(directory, uid)
        except OSError as error:
            self._lose_journal(error)

    def record(self, name: str, doc: Mapping[str, Any]) -> None:
        doc = _plain(name, doc)
        if self._whole and self._journal is not None:
            try:
                self._journal.append(name, doc)
            except (OSError, TypeError, ValueError) as error:
                self._lose_journal(error)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        if not self.recorded_ahead:
            self.record(name, doc)
        if name == "start":
            if self._started:
                raise StorageError(
                    f"the run {self._uid} was started twice: a run has one start document. Is the saver "
                    "subscribed twice?"
                )
            self._started = True
            self._outage.lasts()
        self._try_tiled(lambda: self._write(name, _plain(name, doc)))
        if self._in_tiled and name == "stop" and self._journal is not None:
            try:
                self._journal.remove()
            except OSError as error:  # the run is safe, and replay will see that
                logger.warning("the journal %s cannot be removed: %s", self._path, error)
        self._see_that_it_is_saved()

    def _write(self, name: str, doc: Mapping[str, Any]) -> None:
        if self._writer is None:
            self._writer = self._new_writer()
        self._writer(name, doc)

    def flush(self) -> None:
        if self._writer is not None:
            self._try_tiled(self._writer.flush)
        if not self._told:
            self._see_that_it_is_saved()

    def _try_tiled(self, action: Callable[[], object]) -> None:
        """Do something in Tiled, unless this run or the server is lost already."""
        if not self._in_tiled:
            return
        if self._outage.error is not None:
            self._lose_tiled(self._outage.error)
            return
        try:
            action()
        except Exception as error:
            self._outage.note(error)
            self._lose_tiled(error)

    def close(self) -> None:
        if self._journal is not None:
            self._journal.close()

    def _lose_journal(self, error: Exception) -> None:
        self._whole = False
        logger.error(
            "the journal %s cannot be written (%s); from here on the run %s is saved in Tiled only",
            self._path,
            error,
            self._uid,
        )

    def _lose_tiled(self, error: Exception) -> None:
        self._in_tiled = False
        message = f"the run {self._uid} could not be saved in Tiled: {type(error).__name__}: {error}. "
        if self._whole:
            message += (
                f"It is kept in {self._path}. When the run has ended and Tiled works again: "
                + REPLAY_COMMAND.format(data=self._path.parent.parent)
            )
        self._failures[self._uid] = message
        logger.error(message, exc_info=error)

    def _see_that_it_is_saved(self) -> None:
        if not self._in_tiled and not self._whole:
            self._told = True
            raise StorageError(
                f"the run {self._uid} can be saved neither in Tiled nor in {self._path}; the log says why "
                "(a full disk, missing rights, a server that is gone). Mend that and measure again"
            )


def _plain(name: str, doc: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give a document whose metadata, which a user may have made of anything, is plain."""
    return to_plain(doc) if name in ("start", "stop") else doc
