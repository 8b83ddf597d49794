"""A measuring session: RunEngine, live classifier and storage, put together.

Use :func:`start_session` in IPython, in a script, or in a start-up file of the queue
server; everything it makes can also be made and joined by hand.
"""

from __future__ import annotations

import logging
import os
import threading
from collections.abc import Callable, MutableMapping
from concurrent.futures import Future, wait
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

from speckle_plugin.display import AttachedFigure, LiveFigure, Wanted
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.unknown_keys import UnknownKeys
from speckle_plugin.live import LiveClassifier, LiveTable, PipelineSettings, SecondOpinion
from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.choosing import open_classifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.schema import CLASSIFIED_HERE, Asked
from speckle_plugin.settings import Settings, check_frames, read_settings
from speckle_plugin.store import RunSaver, SharedMetadata, Store, TiledStore, write_profile
from speckle_plugin.store.write.keeper import JournalKeeper

if TYPE_CHECKING:
    from bluesky import RunEngine
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["Session", "start_session"]

logger = logging.getLogger(__name__)

RESTART = 20.0
"""Seconds that closing waits for a server that is being started again, if a run is not whole."""

LOADING = 60.0
"""Seconds that closing waits for a network that is still being loaded."""

NOTHING_CLASSIFIED = 'this session classifies nothing: its setting engine is "none"'


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

    def __init__(
        self,
        run_engine: RunEngine,
        live: LiveClassifier,
        store: Store,
        saver: RunSaver,
        live_figure: Wanted = "none",
        engine: str = "auto",
    ) -> None:
        self.RE = run_engine
        self.live = live
        self.store = store
        self.saver = saver
        self._engine = engine
        self._figure = AttachedFigure(live, live_figure)
        self._token = run_engine.subscribe(live)
        self._metadata: MutableMapping[str, Any] = getattr(run_engine, "md", {})
        self._keeper = JournalKeeper(
            saver,
            store.runs,
            store.journal_directory,
            patience=RESTART if isinstance(store, TiledStore) else 0.0,
        )
        # Also when the interpreter ends without close(): what is queued is saved first.
        store.call_at_close(self._finish)

    @property
    def catalog(self) -> CatalogOfBlueskyRuns:
        """All stored runs, the newest last."""
        return self.store.runs

    @property
    def live_figure(self) -> LiveFigure | None:
        """The live figure, where there is one; see :meth:`figure`."""
        return self._figure.figure

    def change(self, *, model: str | None = None, frames: FrameSettings | None = None) -> None:
        """Take another network, or other settings of frames, for runs that begin from now on.

        Parameters
        ----------
        model : str, optional
            Name of a shipped bundle, or the path of one.
        frames : FrameSettings, optional
            In the place of those so far, which are `live.frames`.

        Raises
        ------
        ValueError
            If the settings make no sense.
        BundleError
            If the bundle is missing or damaged.
        """
        classifier = None
        if model is not None and self._engine == "none":
            raise ValueError(NOTHING_CLASSIFIED)
        if model is not None:
            bundle = find_bundle(model)
            classifier = _in_background(lambda: _load_classifier(bundle, model, self._engine))
            loading = classifier
            self.store.call_at_close(lambda: wait([loading], LOADING))
        self.live.change(classifier, None if frames is None else check_frames(frames))

    def figure(self, live_figure: Wanted = "auto") -> None:
        """Open the live figure, also one whose window was closed.

        Parameters
        ----------
        live_figure : {"auto", "window", "inline", "none"}
            Where it is to be; "none" closes it.

        Raises
        ------
        NoDisplayError
            If there is no place for it.
        """
        self._figure.open(live_figure)

    def close(self) -> None:
        """End a scan that is paused, deliver and save what is queued, and close the store."""
        self.store.close()

    def _finish(self) -> None:
        # A RemoteDispatcher, which gives the documents of a scan elsewhere, has no state.
        if getattr(self.RE, "state", "idle") == "paused":
            self.RE.abort("the session was closed")
        self.RE.unsubscribe(self._token)
        self._metadata.pop(CLASSIFIED_HERE, None)
        self.live.close()
        self._figure.close()
        self.saver.close()
        self._keeper.close()

    def __enter__(self) -> Self:
        """Give the session itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()


def start_session(
    data_directory: str | os.PathLike[str] | None = None,
    *,
    server: str | None = None,
    model: str | None = None,
    engine: str | None = None,
    frames: FrameSettings | None = None,
    settings: PipelineSettings | None = None,
    second_opinion: SecondOpinion | Asked | None = None,
    store: Store | None = None,
    run_engine: RunEngine | None = None,
    profile: str | None = None,
    table: bool | None = None,
    live_figure: Wanted | None = None,
    keep_metadata: bool = False,
) -> Session:
    """Open the storage, begin to load the classifier, and join both to a RunEngine.

    What is not given comes from the environment and the file of settings, see
    :class:`speckle_plugin.settings.Settings`.

    Parameters
    ----------
    data_directory : path, optional
        Holds frames, Tiled's files and journals. Other processes may have it open too, and measure into it.
    server : str, optional
        Address or Tiled profile of a server that keeps the runs instead; the data directory is then for
        frames, which it must see under the same path, and journals.
    model : str, optional
        Name of a shipped bundle, or the path of one. By default each detector's k step chooses among the
        shipped ones; frames that none of them is for are flagged `wrong_k_step`, without a label.
    engine : {"auto", "openvino", "tensorflow", "onnxruntime", "none"}, optional
        With "none" runs are stored without labels: `speckle worker` or `speckle complete` classifies them.
    frames : FrameSettings, optional
        Which images, masks, and the beam centre of detectors that don't state it.
    settings : PipelineSettings, optional
        Limits of the live pipeline.
    second_opinion : {"none", "unsure", "all"} or SecondOpinion, optional
        Of which frames the disks are computed beside the network, in processes of their own.
    store : Store, optional
        An open store, from :func:`speckle_plugin.store.connect`.
    run_engine : RunEngine, optional
        Yours, with its metadata and subscriptions; by default one whose scan ids go on from the last run. A
        `RemoteDispatcher` serves too.
    profile : str, optional
        Name of a Tiled profile to write, so that ``databroker.catalog[profile]`` reads the
        runs in other processes while the session is open; an empty one for none.
    table : bool, optional
        Print a row for each classified frame.
    live_figure : {"auto", "window", "inline", "none"}, optional
        Where the newest frame and the results are drawn, in a process of its own; where there is no display,
        that is told, and the session goes on without.
    keep_metadata : bool
        Have `RE.md` of the session's own RunEngine outlive it, in `metadata.json` of the data directory,
        shared with other sessions that do so.

    Raises
    ------
    ValueError
        If a setting is wrong, wherever it stands.
    StorageError
        If the data directory can't be opened.
    BundleError
        If the bundle is missing or damaged.
    """
    asked = second_opinion if isinstance(second_opinion, str) else None
    chosen = read_settings(
        data=data_directory,
        server=server,
        model=model,
        engine=engine,
        profile=profile,
        table=table,
        live_figure=live_figure,
        second_opinion=asked,
    )
    frames = chosen.frames() if frames is None else check_frames(frames)
    if isinstance(second_opinion, SecondOpinion):
        opinion = second_opinion
    else:
        opinion = SecondOpinion(chosen.second_opinion)
    if chosen.engine == "none":
        frames = FrameSettings(image_keys=())
    bundle_read = _in_background(lambda: find_bundle(chosen.model))
    store = store or chosen.open_store()
    try:
        store.check_writable()
        bundle = bundle_read.result()  # a missing or damaged one is an error here and now
        # Only now, since two threads that import would slow each other down.
        classifier = _classifier(bundle, chosen)
        # The interpreter aborts if it ends while a thread is in the code that loads a network.
        store.call_at_close(lambda: wait([classifier], LOADING))
        if chosen.profile:
            write_profile(store, chosen.profile)
        run_engine = run_engine or _make_run_engine(store, chosen.data if keep_metadata else None)
        live = LiveClassifier(classifier, frames, settings, opinion, store.served_folders)
        saver = RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        live.subscribe(UnknownKeys(frames))
        if chosen.table:
            live.subscribe(LiveTable())
        session = Session(run_engine, live, store, saver, chosen.live_figure, chosen.engine)
        if chosen.engine != "none" and hasattr(run_engine, "md"):
            run_engine.md[CLASSIFIED_HERE] = True
        return session
    except BaseException:
        store.close()
        raise


def _classifier(bundle: Bundle, settings: Settings) -> Future[Classifier]:
    if settings.engine != "none":
        return _in_background(lambda: _load_classifier(bundle, settings.model, settings.engine))
    nobody: Future[Classifier] = Future()
    nobody.set_exception(ValueError(NOTHING_CLASSIFIED))
    return nobody


def _make_run_engine(store: Store, keeps_metadata_in: Path | None) -> RunEngine:
    from bluesky import RunEngine

    scan_id = _last_scan_id(store.runs)
    if keeps_metadata_in is None:
        return RunEngine({"scan_id": scan_id})
    metadata = SharedMetadata(keeps_metadata_in / "metadata.json")
    metadata.raise_scan_id(scan_id)
    # It takes any mapping, as bluesky's own PersistentDict; its annotation says less.
    return RunEngine(cast("dict[str, Any]", metadata), scan_id_source=metadata.next_scan_id)


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


def _load_classifier(bundle: Bundle, model: str | None, engine: str) -> Classifier:
    try:
        return open_classifier(model, engine, bundle)
    except Exception as error:
        logger.error("the classifier can't be loaded, frames will be deferred: %s", error)
        raise
