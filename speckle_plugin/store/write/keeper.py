"""Journals that were left are replayed while a session is open, without a command by hand.

A run stays in its journal when its process was killed, or when Tiled was gone while it was measured.
`JournalKeeper` looks for such journals now and then, of this session and of others that have died.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.write.journal import held_journal
from speckle_plugin.store.write.replay import replay

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

    from speckle_plugin.store.write.saver import RunSaver

__all__ = ["JournalKeeper"]

logger = logging.getLogger(__name__)

LOOK_INTERVAL = 5.0
"""Seconds between looking for journals."""

AT_REST = 2.0
"""Seconds since a journal was written to: one that is just begun is not yet locked."""


class JournalKeeper:
    """Replays journals that nobody writes any more, on a thread of its own, until `close`.

    Parameters
    ----------
    saver : RunSaver
        Of this session. A run that is whole again is taken off its failures.
    runs : CatalogOfBlueskyRuns
        Where runs go.
    directory : Path
        Where journals are.
    patience : float
        Seconds that `close` waits for a server that is gone, if runs of this session are not whole.
    """

    def __init__(
        self, saver: RunSaver, runs: CatalogOfBlueskyRuns, directory: Path, patience: float = 0.0
    ) -> None:
        self._saver, self._runs, self._directory = saver, runs, directory
        self._patience = patience
        self._given_up: set[str] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="speckle-journals", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._closed.wait(LOOK_INTERVAL):
            self.look()

    def close(self) -> None:
        """End, after a last look at the runs of this session that are in journals only."""
        self._closed.set()
        self._thread.join()
        end = time.monotonic() + self._patience
        while self._saver.failures and not self._saver.outage.answers() and time.monotonic() < end:
            time.sleep(0.2)
        if self._saver.failures:
            self.look(at_rest=0.0)

    def look(self, at_rest: float = AT_REST) -> None:
        """Replay what is left now, if the server answers."""
        with self._lock:
            left = [path for path in self._directory.glob("*.jsonl") if self._is_left(path, at_rest)]
            if not left or not self._saver.outage.answers():
                return
            for path in left:
                self._replay(path)

    def _is_left(self, path: Path, at_rest: float) -> bool:
        try:
            if path.stem in self._given_up or time.time() - path.stat().st_mtime < at_rest:
                return False
            with held_journal(path) as free:
                return free
        except OSError:  # it is gone, or has no locks
            return False

    def _replay(self, path: Path) -> None:
        try:
            outcome = replay(path, self._runs)[path.stem]
        except (StorageError, OSError):  # somebody else has replayed it
            return
        if outcome.startswith("failed") and self._saver.outage.answers():
            self._given_up.add(path.stem)  # the log says why; `speckle replay` tries again
        elif not outcome.startswith(("failed", "still")):
            logger.warning("the run %s was left in its journal: %s", path.stem, outcome)
            self._saver.failures.pop(path.stem, None)
