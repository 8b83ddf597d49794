"""A measuring session: RunEngine, live classifier and storage, put together.

Use :func:`start_session` in IPython, in a script, or in a start-up file of the queue
server; everything it makes can also be made and joined by hand.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier, LiveTable, PipelineSettings
from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.store import RunSaver, Store, TiledStore, write_profile

if TYPE_CHECKING:
    from bluesky import RunEngine
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["Session", "start_session"]

logger = logging.getLogger(__name__)


class Session:
    """A RunEngine whose frames are classified live and stored with their results.

    Made by :func:`start_session`. Close it, or use it in a `with` statement.

    Attributes
    ----------
    RE : bluesky.RunEngine
    live : LiveClassifier
        Its `reports` tell how long the frames of a run took.
    store : Store
    saver : RunSaver
        Its `failures` name the runs that are not whole in Tiled.
    """

    def __init__(self, run_engine: RunEngine, live: LiveClassifier, store: Store, saver: RunSaver) -> None:
        self.RE = run_engine
        self.live = live
        self.store = store
        self.saver = saver
        self._token = run_engine.subscribe(live)
        # Also when the interpreter ends without close(): what is queued is saved first.
        store.call_at_close(self._finish)

    @property
    def catalog(self) -> CatalogOfBlueskyRuns:
        """All stored runs, the newest last."""
        return self.store.runs

    def close(self) -> None:
        """End a scan that is paused, deliver and save what is queued, and close the store."""
        self.store.close()

    def _finish(self) -> None:
        if self.RE.state == "paused":
            self.RE.abort("the session was closed")
        self.RE.unsubscribe(self._token)
        self.live.close()
        self.saver.close()

    def __enter__(self) -> Self:
        """Give the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def start_session(
    data_directory: str | os.PathLike[str],
    *,
    model: str | None = None,
    engine: str = "auto",
    frames: FrameSettings | None = None,
    settings: PipelineSettings | None = None,
    store: Store | None = None,
    run_engine: RunEngine | None = None,
    profile: str | None = None,
    table: bool = True,
) -> Session:
    """Open the storage, begin to load the classifier, and join both to a RunEngine.

    Parameters
    ----------
    data_directory : path
        Holds frames, Tiled's files and journals between sessions. One process at a time may open it.
    model : str, optional
        Name of a shipped bundle, or the path of one; the default bundle for None.
    engine : {"auto", "openvino", "tensorflow"}
    frames : FrameSettings, optional
        Which images, masks, and the beam centre of detectors that don't state it.
    settings : PipelineSettings, optional
    store : Store, optional
        Another store than the embedded server, from :func:`speckle_plugin.store.connect`.
    run_engine : RunEngine, optional
        Yours, with its metadata and subscriptions; by default one whose scan ids go on from the last run.
    profile : str, optional
        Name of a Tiled profile to write, so that ``databroker.catalog[profile]`` reads the
        runs in other processes while the session is open.
    table : bool
        Print a row for each classified frame.

    Raises
    ------
    StorageError
        If another process holds the data directory.
    BundleError
        If the bundle is missing or damaged.
    """
    from bluesky import RunEngine

    bundle_read = _in_background(lambda: find_bundle(model))
    store = store or TiledStore(Path(data_directory).expanduser())
    try:
        bundle = bundle_read.result()  # a missing or damaged one is an error here and now
        # Only now, since two threads that import would slow each other down.
        classifier = _in_background(lambda: _load_classifier(bundle, engine))
        if profile is not None:
            write_profile(store, profile)
        run_engine = run_engine or RunEngine({"scan_id": _last_scan_id(store.runs)})
        live = LiveClassifier(classifier, frames, settings, store.served_folder)
        saver = RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        if table:
            live.subscribe(LiveTable())
        return Session(run_engine, live, store, saver)
    except BaseException:
        store.close()
        raise


def _last_scan_id(runs: CatalogOfBlueskyRuns) -> int:
    """Let scan ids go on where the last session stopped."""
    if not len(runs):
        return 0
    return int(runs.values().last().metadata["start"].get("scan_id", 0))


def _in_background(load: Callable[[], Any]) -> Future[Any]:
    """Call a function on a thread that does not keep the interpreter from ending."""
    future: Future[Any] = Future()

    def run() -> None:
        try:
            future.set_result(load())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="speckle-load", daemon=True).start()
    return future


def _load_classifier(bundle: Bundle, engine: str) -> Classifier:
    try:
        return Classifier(bundle, engine)
    except Exception as error:
        logger.error("the classifier can't be loaded, frames will be deferred: %s", error)
        raise
