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

from speckle_plugin.documents.routing import RunCallback
from speckle_plugin.shell import command
from speckle_plugin.store.connection import limit_retries
from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.write.journal import Journal
from speckle_plugin.store.write.outage import Outage
from speckle_plugin.store.write.plain import to_plain

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["RunSaver", "RunWriter", "SavedRun"]

logger = logging.getLogger(__name__)


def replay_command(data: Path, uri: str) -> str:
    """Give the command that replays the journals of a data directory into the server that has its runs."""
    server = [] if (data / "tiled").is_dir() or not uri else ["--server", uri]
    return command("speckle", "replay", "--data", data, *server)


class RunWriter(Protocol):
    """Writes the documents of one run into Tiled."""

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document."""

    def flush(self) -> None:
        """Make everything taken so far visible to readers."""


class RunSaver(RunCallback["SavedRun"]):
    """Save the documents of any number of runs, open at once or not.

    Each document is appended to the journal of its run and then handed to Tiled. Rows of
    events and references to frames are collected until `flush` or the end of the run; the
    rest is in Tiled when the call returns. When the stop document is in Tiled, the journal
    is removed. When the server is gone, all runs go to journals only, without waiting, until a
    run starts after it is back. Calls from several threads wait for each other.

    Who calls it from a queue hands each document to `record` before it is queued: then
    the journal holds what has happened, however long Tiled takes. Who knows the run of each document
    calls what `open_run` gives him, instead of the saver.

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
    outage : Outage
        Whether the server is gone.

    Raises
    ------
    StorageError
        From a call or `flush`, when a document is neither in Tiled nor in the journal.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, journal_directory: str | os.PathLike[str]) -> None:
        super().__init__()
        limit_retries()
        self.failures: dict[str, str] = {}
        self.outage = Outage(runs)
        self._runs = runs
        self._directory = Path(journal_directory)
        self._open: dict[str, SavedRun] = {}
        self._opening = threading.Lock()
        self._lock = threading.RLock()

    @property
    def open_runs(self) -> list[str]:
        """Uids of the runs that have no stop document yet."""
        return list(self._open)

    def open_run(self, start: Mapping[str, Any]) -> SavedRun:
        """Begin the journal of a run, and give what saves its documents, from the start document on."""
        uid = start["uid"]
        with self._opening:
            if uid not in self._open:
                self._open[uid] = SavedRun(
                    uid,
                    self._new_writer,
                    self.outage,
                    self._directory,
                    self.failures,
                    self._lock,
                    self._forget,
                    lambda: replay_command(self._directory.parent, getattr(self._runs, "uri", "")),
                )
            return self._open[uid]

    def record(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append a document to the journal of its run, at once; Tiled gets it by a call later.

        It never raises: a journal that cannot be written is in the log, and the call says so.
        """
        for run in self.route(name, doc):
            run.record(name, doc)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Save a document."""
        runs = self.route(name, doc)
        if not runs:
            raise StorageError(
                f"a document {name!r} came that belongs to no open run ({doc}). Subscribe the saver "
                "before the run starts, and hand it every document"
            )
        for run in runs:
            run(name, doc)

    def _forget(self, uid: str) -> None:
        self._open.pop(uid, None)
        self.close_route(uid)

    def flush(self) -> None:
        """Make all documents so far visible in Tiled.

        To be called when there is nothing else to do, and more than once a second while
        documents come: the cost of a flush hardly depends on how many frames are new.
        """
        lost: StorageError | None = None
        with self._lock:
            for run in list(self._open.values()):
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
                for uid, run in list(self._open.items()):
                    logger.warning("the run %s has no stop document; its journal is kept", uid)
                    run.close()

    def _new_writer(self) -> RunWriter:
        from speckle_plugin.store.write.run_writer import TiledRunWriter  # imports Tiled

        return TiledRunWriter(self._runs)


class SavedRun:
    """One run being saved; made by :meth:`RunSaver.open_run`.

    Parameters
    ----------
    uid : str
        Of the run.
    new_writer : callable
        Gives what writes into Tiled.
    outage : Outage
        What is known of the server, shared by all runs.
    directory : Path
        Where journals are.
    failures : dict
        Where a failure to save in Tiled is noted.
    lock : threading.RLock
        Held while something is written into Tiled: one run waits for the other.
    closed : callable
        Called with the uid at the end.
    replay : callable
        Gives the command that replays its journal.
    """

    def __init__(
        self,
        uid: str,
        new_writer: Callable[[], RunWriter],
        outage: Outage,
        directory: Path,
        failures: dict[str, str],
        lock: threading.RLock,
        closed: Callable[[str], None],
        replay: Callable[[], str],
    ) -> None:
        self._recorded_ahead = False
        self._started = False
        self._uid = uid
        self._new_writer, self._outage = new_writer, outage
        self._writer: RunWriter | None = None
        self._path = directory / f"{uid}.jsonl"
        self._failures = failures
        self._lock, self._closed, self._replay = lock, closed, replay
        self._journal: Journal | None = None
        self._journal_lock = threading.Lock()
        self._whole = True
        self._in_tiled = True
        self._told = False
        try:
            self._journal = Journal(directory, uid)
        except OSError as error:
            self._lose_journal(error)

    def record(self, name: str, doc: Mapping[str, Any]) -> None:
        """Append a document to the journal, at once; see :meth:`RunSaver.record`."""
        with self._journal_lock:
            if name == "start":
                self._recorded_ahead = True
            self._append(name, doc)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Save a document."""
        with self._lock:
            try:
                self._save(name, doc)
            finally:
                if name == "stop":
                    self.close()

    def _append(self, name: str, doc: Mapping[str, Any]) -> None:
        doc = _plain(name, doc)
        if self._whole and self._journal is not None:
            try:
                self._journal.append(name, doc)
            except (OSError, TypeError, ValueError) as error:
                self._lose_journal(error)

    def _save(self, name: str, doc: Mapping[str, Any]) -> None:
        if not self._recorded_ahead:
            self._append(name, doc)
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
        """Make everything taken so far visible to readers."""
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
        """Let go of the run; its journal stays, unless the run is safe in Tiled."""
        if self._journal is not None:
            self._journal.close()
        self._closed(self._uid)

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
                f"It is kept in {self._path}. An open session saves it when the run has ended and Tiled "
                f"works again; without one: {self._replay()}"
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
