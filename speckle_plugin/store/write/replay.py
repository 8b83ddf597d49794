"""Making whole runs of journals that were left behind.

Use `replay` after a session in which Tiled failed or the process was killed. It takes a
directory of journals or one of them, and can be called again at any time: journals of runs
that are still being measured are left alone, those of runs that are whole are removed.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speckle_plugin.store.connection import limit_retries
from speckle_plugin.store.write.journal import Document, held_journal, journal_files, read_journal
from speckle_plugin.store.write.recovery import count_events, recovered_stop

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["replay"]

logger = logging.getLogger(__name__)


def replay(path: str | os.PathLike[str], runs: CatalogOfBlueskyRuns) -> dict[str, str]:
    """Write journals into Tiled and remove them.

    What Tiled holds of a run without a stop document is deleted first (never the frames,
    which are the detector's files). A run that has its stop document is left as it is. Of a run whose
    journal could not be written to its end Tiled may hold more: that stays, and gets a stop document.

    Parameters
    ----------
    path : path
        A journal or a directory of journals.
    runs : CatalogOfBlueskyRuns
        Where runs go.

    Returns
    -------
    dict
        Uid of each run (the journal's name, where it cannot be read) -> "replayed", "was
        whole already", "ended as stored" (Tiled held more than the journal), "still being measured", or
        "failed: ..." with the reason; the journals of the last two stay.

    Raises
    ------
    StorageError
        If there is nothing at `path`.
    """
    limit_retries()
    outcome: dict[str, str] = {}
    for file in journal_files(path):
        with held_journal(file) as held:
            if not held:
                outcome[file.stem] = "still being measured"
                continue
            try:
                outcome[file.stem] = _replay_one(file, runs)
            except Exception as error:
                why = f"{type(error).__name__}: {error}"
                # The traceback is for a bug report: who replays is told the outcome.
                wanted = logger.isEnabledFor(logging.DEBUG)
                logger.error("the journal %s could not be replayed: %s", file, why, exc_info=wanted)
                outcome[file.stem] = f"failed: {error}"
            else:
                file.unlink()
    return outcome


def _replay_one(file: Path, runs: CatalogOfBlueskyRuns) -> str:
    from speckle_plugin.store.write.run_writer import TiledRunWriter

    documents = read_journal(file)
    uid = documents[0][1]["uid"]
    if uid in runs:
        if "stop" in runs[uid].metadata:
            return "was whole already"
        if (stop := _stop_beyond(documents, runs[uid])) is not None:
            runs[uid].update_metadata({"stop": stop})
            return "ended as stored"
        runs.delete_contents(uid, recursive=True, external_only=False)
    if documents[-1][0] != "stop":
        documents.append(("stop", recovered_stop(documents)))
    writer = TiledRunWriter(runs)
    for name, doc in documents:
        writer(name, doc)
    return "replayed"


def _stop_beyond(documents: list[Document], run: BlueskyRun) -> dict[str, Any] | None:
    """Give a stop document for a stored run that goes on where its journal was cut off, else None."""
    if documents[-1][0] == "stop":
        return None
    stored = [(name, doc) for name, doc in run.documents() if name != "stop"]
    in_journal = count_events(documents)
    goes_on = any(count > in_journal.get(stream, 0) for stream, count in count_events(stored).items())
    return recovered_stop(stored) if goes_on else None
