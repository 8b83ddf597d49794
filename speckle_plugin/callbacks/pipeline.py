"""The live pipeline: documents of a scan in, the same documents with results out.

``RE.subscribe(pipeline)`` puts it between the RunEngine and all that needs results. It
hands raw documents on unchanged and adds the stream `classification` to each run that
has frames. The RunEngine's thread only queues; one thread classifies in micro-batches,
another delivers to the subscribers, in order. A failure to classify never aborts a scan;
a failure to save is raised in it.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Any, Literal

from speckle_plugin.callbacks.delivery import Delivery
from speckle_plugin.callbacks.frame_finder import FrameFinder, FrameReference
from speckle_plugin.callbacks.frame_reader import FrameReadError, read_frames
from speckle_plugin.callbacks.run_report import RunReports
from speckle_plugin.callbacks.run_results import RunResults
from speckle_plugin.classifier import Classifier
from speckle_plugin.detectors import FrameSettings
from speckle_plugin.preprocessing import view_shape
from speckle_plugin.schema import Flag

__all__ = ["LiveClassifier", "PipelineSettings"]

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PipelineSettings:
    """Limits of the pipeline.

    Parameters
    ----------
    batch : int
        Most frames classified at once; as many as are waiting are taken, never waited for.
    pending_bytes : int
        Most bytes of frames that may wait to be classified.
    when_full : {"wait", "defer"}
        At that bound the scan waits, or the frame is left to be classified later. A plan
        may choose by the metadata ``classification={"when_full": ...}``.
    wait_timeout : float
        Seconds that a scan waits for room before it defers all the same.
    drain_timeout : float
        Seconds, at the end of a run, for frames still waiting; the rest is deferred.
    save_timeout : float
        Seconds, after that, for everything to be saved.
    """

    batch: int = 32
    pending_bytes: int = 2 << 30
    when_full: Literal["wait", "defer"] = "wait"
    wait_timeout: float = 30.0
    drain_timeout: float = 60.0
    save_timeout: float = 180.0

    def __post_init__(self) -> None:
        if self.when_full not in ("wait", "defer"):
            raise ValueError(f"when_full must be 'wait' or 'defer', not {self.when_full!r}")
        if self.batch < 1 or self.pending_bytes < 1:
            raise ValueError("batch and pending_bytes must be positive")


@dataclass(eq=False)
class _Run:
    """What the pipeline keeps of an open run."""

    uid: str
    finder: FrameFinder
    results: RunResults
    when_full: str
    closed: bool = False


class LiveClassifier:
    """Classifies frames while they are measured; subscribe it to a RunEngine.

    Parameters
    ----------
    classifier : Classifier or Future of one
        A future lets scans start while the network loads; frames wait for it.
    frames : FrameSettings, optional
        Which image keys, masks, and the beam centre of detectors that don't state it.
    settings : PipelineSettings, optional

    Examples
    --------
    >>> live = LiveClassifier(Classifier())
    >>> live.subscribe(saver, saves=True)
    >>> RE.subscribe(live)
    """

    def __init__(
        self,
        classifier: Classifier | Future[Classifier],
        frames: FrameSettings | None = None,
        settings: PipelineSettings | None = None,
    ) -> None:
        self._classifier = classifier
        self._frame_settings = frames or FrameSettings()
        self.settings = settings or PipelineSettings()
        self.reports = RunReports()
        self._delivery = Delivery()
        self._delivery.subscribe(self.reports)
        self._delivery.on_flush(self.reports.note_stored)
        self._runs: dict[str, _Run] = {}
        self._run_of: dict[str, _Run] = {}
        self._lock = threading.Condition()
        self._waiting: deque[tuple[_Run, FrameReference]] = deque()
        self._pending_bytes = 0
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="speckle-classifier", daemon=True)
        self._thread.start()

    @property
    def classifier(self) -> Classifier:
        """The classifier, waiting for it if it is still being loaded."""
        return self._classifier.result() if isinstance(self._classifier, Future) else self._classifier

    # Subscribing

    def subscribe(self, function: Callable[[str, dict[str, Any]], Any], saves: bool = False) -> int:
        """Add a subscriber to raw and result documents; see :meth:`Delivery.subscribe`."""
        return self._delivery.subscribe(function, saves)

    def unsubscribe(self, token: int) -> None:
        """Remove a subscriber."""
        self._delivery.unsubscribe(token)

    def close(self) -> None:
        """End the threads; what is queued is still delivered."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(timeout=10.0)
        self._delivery.close()

    # The RunEngine's thread

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document from the RunEngine."""
        self._delivery.raise_error()
        if name == "stop":
            self._stop(doc)
            return
        self._delivery.put(name, doc)
        run = self._start(doc) if name == "start" else self._find_run(name, doc)
        if run is None:
            return
        for reference in run.finder(name, doc):
            self._book(run, reference)

    def _start(self, doc: dict[str, Any]) -> _Run:
        choices = doc.get("classification")
        when_full = choices.get("when_full") if isinstance(choices, Mapping) else None
        if when_full not in ("wait", "defer"):
            when_full = self.settings.when_full
        uid = doc["uid"]
        run = _Run(uid, FrameFinder(self._frame_settings), RunResults(doc, self._delivery.put), when_full)
        self._runs[uid] = run
        return run

    def _find_run(self, name: str, doc: Mapping[str, Any]) -> _Run | None:
        """Tell which open run a document belongs to."""
        for key in ("run_start", "descriptor", "resource", "stream_resource"):
            if key in doc:
                run = self._runs.get(doc[key]) if key == "run_start" else self._run_of.get(doc[key])
                break
        else:
            run = None
        if run is not None and name in ("descriptor", "resource", "stream_resource"):
            self._run_of[doc["uid"]] = run
        return run

    def _book(self, run: _Run, reference: FrameReference) -> None:
        size = reference.detector.frame_bytes
        with self._lock:
            run.results.book(reference)
            patience = self.settings.wait_timeout if run.when_full == "wait" else 0.0
            if not self._lock.wait_for(lambda: self._has_room(size), patience):
                run.results.defer(reference, "more frames waited than pending_bytes allows", self._ready())
                return
            self._pending_bytes += size
            self._waiting.append((run, reference))
            self._lock.notify_all()

    def _has_room(self, size: int) -> bool:
        """Tell whether a frame of so many bytes may wait; one alone always may."""
        return not self._pending_bytes or self._pending_bytes + size <= self.settings.pending_bytes

    def _stop(self, doc: dict[str, Any]) -> None:
        run = self._runs.pop(doc.get("run_start", ""), None)
        saved = threading.Event()
        if run is None:
            self._delivery.put("stop", doc, saved)
        else:
            with self._lock:
                self._lock.wait_for(lambda: not run.results.outstanding, self.settings.drain_timeout)
                run.results.defer_outstanding(
                    f"not classified {self.settings.drain_timeout:g} s after the end of the run",
                    self._ready(),
                )
                run.closed = True
                self._delivery.put("stop", run.results.stop(doc), saved)
            for uid in [uid for uid, owner in self._run_of.items() if owner is run]:
                del self._run_of[uid]
        if not saved.wait(self.settings.save_timeout):
            logger.error(
                "run %s is not saved %g s after its end: saving goes on in the background",
                doc.get("run_start"),
                self.settings.save_timeout,
            )
        self._delivery.raise_error()

    def _ready(self) -> Classifier | None:
        """Give the classifier if it is loaded, without waiting."""
        if not isinstance(self._classifier, Future):
            return self._classifier
        if self._classifier.done() and self._classifier.exception() is None:
            return self._classifier.result()
        return None

    # The classifying thread

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                count = min(len(self._waiting), self.settings.batch)
                batch = [self._waiting.popleft() for _ in range(count)]
            try:
                self._classify_or_defer([(run, reference) for run, reference in batch if not run.closed])
            finally:
                with self._lock:
                    self._pending_bytes -= sum(reference.detector.frame_bytes for _, reference in batch)
                    self._lock.notify_all()

    def _classify_or_defer(self, batch: Sequence[tuple[_Run, FrameReference]]) -> None:
        """Classify; what fails is tried again in halves, for memory or a single bad frame, then deferred."""
        try:
            classifier = self.classifier
        except Exception as error:
            self._defer(batch, f"the classifier could not be loaded: {error}")
            return
        try:
            self._classify(batch, classifier)
        except Exception as error:
            if len(batch) > 1:
                middle = len(batch) // 2
                self._classify_or_defer(batch[:middle])
                self._classify_or_defer(batch[middle:])
                return
            logger.exception("a frame could not be classified; the scan goes on")
            self._defer(batch, f"{type(error).__name__}: {error}")

    def _defer(self, batch: Sequence[tuple[_Run, FrameReference]], reason: str) -> None:
        with self._lock:
            for run, reference in batch:
                if not run.closed:
                    run.results.defer(reference, reason, self._ready())

    def _classify(self, batch: Sequence[tuple[_Run, FrameReference]], classifier: Classifier) -> None:
        """Read, label and close frames; those of one detector together."""
        groups: dict[int, list[tuple[_Run, FrameReference]]] = {}
        for run, reference in batch:
            groups.setdefault(id(reference.detector), []).append((run, reference))
        for group in groups.values():
            detector = group[0][1].detector
            geometry, problem = detector.geometry, detector.problem
            if geometry is not None and not problem:
                try:  # the bundle's crop may leave too little of this frame
                    view_shape(classifier.bundle.preprocessing, geometry)
                except ValueError as error:
                    problem = f"{detector.image_key}: {error}"
            if geometry is None or problem:
                with self._lock:
                    for run, reference in group:
                        run.results.flag(reference, Flag.UNUSABLE_GEOMETRY, problem, classifier)
                continue
            pixels = read_frames([reference for _, reference in group])
            readable = {i: frame for i, frame in enumerate(pixels) if not isinstance(frame, FrameReadError)}
            results = classifier.label(
                list(readable.values()), geometry, detector.saturation_level, detector.pitch
            )
            labelled = dict(zip(readable, results, strict=True))
            with self._lock:
                for i, (run, reference) in enumerate(group):
                    if run.closed:
                        continue
                    if i in labelled:
                        result = labelled[i]
                        if detector.center_assumed:
                            result = replace(result, flags=(*result.flags, Flag.ASSUMED_CENTER))
                        run.results.close_frame(reference, result, classifier, geometry.mask_hash)
                    else:
                        run.results.flag(reference, Flag.UNREADABLE, str(pixels[i]), classifier)
