"""The worker: takes runs that wait for labels, one at a time, and completes them together with others.

Several workers share a folder of leases. Each takes parts of a run that nobody has; who finds all parts done
writes the labels. A worker that is killed costs the part that it was at: the others do it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.roles import Role
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network import Bundle, find_bundle, shipped_bundles
from speckle_plugin.network.choosing import ChoosingClassifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import make_engine
from speckle_plugin.reprocess import Completion, complete_run
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.reprocess.parts import SharedRun
from speckle_plugin.schema import CHOSEN_AMONG
from speckle_plugin.store import StorageError, Store, StoredRun
from speckle_plugin.store.leases import RunLeases
from speckle_plugin.worker.catalog import WaitingRuns, listen_for_changes, waits_for_labels
from speckle_plugin.worker.documents import ClaimedRuns, FinishedRun, ResultKeeper
from speckle_plugin.worker.engine import SharedEngine

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["Worker"]

logger = logging.getLogger(__name__)

STOP_PATIENCE = 60.0
"""Seconds, after the end of a scan's documents, until its session must have stored the stop document."""


SOON = 0.5
"""Seconds until a run is looked at again, of which other workers do the last parts: they may be killed."""


class Worker:
    """Labels the runs of a catalog, and those of scans whose documents it is given.

    Parameters
    ----------
    store : Store
        Where the runs are.
    leases : Path
        A folder that all workers of these runs share.
    bundle : Bundle, optional
        The network for all frames; by default each detector's k step chooses among those of the package.
    engine : str
        As for :func:`speckle_plugin.network.engines.make_engine`.
    frames : FrameSettings, optional
        What is said of frames; of runs with earlier results the masks only, these tell the rest.
    since : float, str, date or datetime, optional
        Runs that started before are left alone.
    report : callable, optional
        Given what became of each run whose labels this worker wrote.

    Attributes
    ----------
    classifier : Classifier
    shares : bool
        Whether other workers were still at parts of a run when this one had nothing more to do.
    """

    def __init__(
        self,
        store: Store,
        leases: Path,
        bundle: Bundle | None = None,
        engine: str = "auto",
        frames: FrameSettings | None = None,
        since: Any = None,
        report: Callable[[Completion], object] = lambda done: None,
    ) -> None:
        self._store, self._report = store, report
        self._frames = frames or FrameSettings()
        self._leases = RunLeases(leases)
        self._waiting = WaitingRuns(store.runs, since)
        self._engine_name = engine
        self._classifiers: dict[str, Classifier] = {}
        self.classifier = self._choosing() if bundle is None else self._classifier_of(bundle)
        self.shares = False
        self._live: LiveClassifier | None = None
        self._claimed: ClaimedRuns | None = None
        self._keeper: ResultKeeper | None = None
        self._ending: list[tuple[FinishedRun, float]] = []
        self._changed = threading.Event()
        self._ended = threading.Event()

    def _make_engine(self, bundle: Bundle) -> SharedEngine:
        return SharedEngine(make_engine(bundle, self._engine_name))

    def _choosing(self) -> Classifier:
        """Give what chooses among the networks of the package."""
        if "" not in self._classifiers:
            self._classifiers[""] = ChoosingClassifier(find_bundle(), self._make_engine)
        return self._classifiers[""]

    def _classifier_of(self, bundle: Bundle) -> Classifier:
        if bundle.sha256 not in self._classifiers:
            self._classifiers[bundle.sha256] = Classifier(bundle, self._make_engine(bundle))
        return self._classifiers[bundle.sha256]

    def documents(self) -> ClaimedRuns:
        """Give a callback for the documents of scans elsewhere, such as those of a `RemoteDispatcher`."""
        if self._claimed is None:
            self._live = LiveClassifier(self.classifier, self._frames)
            self._keeper = ResultKeeper(self._store.runs)
            self._live.subscribe(self._keeper, saves=True)
            self._claimed = ClaimedRuns(self._leases, self._live)
        return self._claimed

    def run(self, interval: float = 2.0) -> None:
        """Work until `end`, looking every so many seconds, and when the server tells of changes."""
        changes = listen_for_changes(self._store.runs, self._changed)
        try:
            while not self._ended.is_set():
                self._changed.clear()
                try:
                    self.work()
                except StorageError as error:
                    logger.error("%s; it is tried again", error)
                self._changed.wait(0.1 if self._ending else SOON if self.shares else interval)
        finally:
            changes.close()

    def end(self) -> None:
        """Have `run` end after the run that is being done; from any thread."""
        self._ended.set()
        self._changed.set()

    def close(self) -> None:
        """Let go of scans that are still going on."""
        if self._live is not None:
            self._live.close()
        if self._claimed is not None:
            for uid in list(self._claimed.held):
                self._claimed.release(uid)

    def work(self) -> int:
        """Do what there is to do now; give the number of runs whose labels were written.

        Raises
        ------
        StorageError
            If the server does not answer.
        """
        import httpx

        done = 0
        self.shares = False
        try:
            self._end_live_runs()
            for run in self._waiting:
                if self._ended.is_set():
                    break
                uid = run.start["uid"]
                with self._leases.holding(uid, shared=True) as lease:
                    if lease is not None:
                        done += self._complete(run, SharedRun(self._leases, uid, lease))
                self._end_live_runs()
        except httpx.HTTPError as error:
            raise StorageError(
                f"the Tiled server does not answer ({error or type(error).__name__})"
            ) from error
        return done

    def _complete(self, run: BlueskyRun, shared: SharedRun | None = None) -> bool:
        """Complete a run, unless another worker has done so meanwhile; tell whether its labels were written.

        One that this worker has alone was labelled from documents, some of which may have been lost: the
        summary is not trusted then, and compared with the frames that are stored.
        """
        import httpx

        uid = run.start["uid"]
        run.refresh()
        done = None
        try:
            stored = StoredRun(run)
            if (shared is None or waits_for_labels(run)) and self._has_frames(stored):
                done = self._label(run, stored, shared)
        except (httpx.TransportError, StorageError):
            self._waiting.wait(uid)
            raise
        except CompletionError as error:
            logger.warning("%s", error)
        except Exception:
            logger.exception("the run %s could not be classified; it is left alone until a restart", uid)
        if done is not None and done.others:
            self._waiting.wait(uid)
            self.shares = True
            return False
        self._waiting.settle(uid)
        if done is not None:
            self._report(done)
        return done is not None

    def _label(self, run: BlueskyRun, stored: StoredRun, shared: SharedRun | None) -> Completion:
        """Complete a run by the network of its earlier results, or else by that of this worker."""
        classifier, center = self.classifier, self._frames.beam_center
        recorded = stored.results.model
        if recorded.get("weights_sha256"):
            center = None  # that of the earlier results
            if recorded.get(CHOSEN_AMONG):
                classifier = self._choosing()
            elif recorded["model"] in shipped_bundles():
                classifier = self._classifier_of(find_bundle(recorded["model"]))
        return complete_run(
            run,
            classifier,
            masks=self._frames.masks,
            beam_center=center,
            shared=shared,
            unlabelled=self._frames,
        )

    def _has_frames(self, stored: StoredRun) -> bool:
        role_of = self._frames.role_of
        every = stored.images.values()
        return any(role_of(images.stream, images.data_key) is Role.LIGHT for images in every)

    def _end_live_runs(self) -> None:
        """Publish the summaries of scans that have ended, as soon as their sessions have stored them."""
        if self._keeper is None or self._claimed is None:
            return
        while not self._keeper.finished.empty():
            self._ending.append((self._keeper.finished.get(), time.monotonic() + STOP_PATIENCE))
        for item in list(self._ending):
            finished, until = item
            uid = finished.uid
            if uid in self._store.runs and (run := self._store.runs[uid]).metadata.get("stop") is not None:
                self._ending.remove(item)
                try:
                    if waits_for_labels(run):
                        finished.publish()
                    self._complete(run)
                finally:
                    self._claimed.release(uid)
            elif time.monotonic() > until:
                self._ending.remove(item)
                self._claimed.release(uid)
                self._waiting.wait(uid)
                logger.warning("the run %s is not stored yet; it is classified if it comes", uid)
