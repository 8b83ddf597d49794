"""The live pipeline: documents of a scan in, the same documents with results out.

``RE.subscribe(pipeline)`` puts it between the RunEngine and all that needs results. It
hands raw documents on unchanged and adds the stream `classification` to each run that
has frames. The RunEngine's thread only queues; one thread classifies in micro-batches,
another delivers to the subscribers, in order. A failure to classify never aborts a scan;
a failure to save is raised in it.

Each raw document is routed to its run once, here. Results are composed while the pipeline's lock is held,
which keeps them in order and the frame counts right; they are handed over after that, since journals and a
full queue may have to be waited for.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.documents.frame_finder import CorrectionFrames, FrameFinder, FrameReference
from speckle_plugin.documents.routing import OpenRuns
from speckle_plugin.frames.reader import read_frames
from speckle_plugin.live.delivery import Callback, Channel, Delivery
from speckle_plugin.live.known_detector import KnownDetector
from speckle_plugin.live.outbox import Outbox
from speckle_plugin.live.results import RunResults
from speckle_plugin.live.run import Run, by_classifier, loaded, ready
from speckle_plugin.live.second_opinion import SecondOpinion, SecondOpinions
from speckle_plugin.live.served_folders import ServedFolders
from speckle_plugin.live.settings import PipelineSettings
from speckle_plugin.live.timing import RunReports
from speckle_plugin.live.watched import Watched, Watcher
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.schema import SUMMARY
from speckle_plugin.stage_times import StageTimes

__all__ = ["LiveClassifier"]

logger = logging.getLogger(__name__)


class LiveClassifier:
    """Classifies frames while they are measured; subscribe it to a RunEngine.

    Parameters
    ----------
    classifier : Classifier or Future of one
        A future lets scans start while the network loads; frames wait for it.
    frames : FrameSettings, optional
        Which image keys, masks, and the beam centre of detectors that don't state it.
    settings : PipelineSettings, optional
    second_opinion : SecondOpinion, optional
        Which frames are solved beside the network; by default none but those that a plan asks for.
    served_folders : sequence of Path
        What the Tiled server reads: frames elsewhere are reported.

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
        second_opinion: SecondOpinion | None = None,
        served_folders: Sequence[Path] = (),
    ) -> None:
        self._served_folders = ServedFolders(served_folders)
        self._classifier = classifier
        self._frame_settings = frames or FrameSettings()
        self._opinions = SecondOpinions(second_opinion or SecondOpinion(), self._frame_settings)
        self.settings = settings or PipelineSettings()
        self.reports = RunReports()
        self._delivery = Delivery(busy=self._is_saturated)
        self._outbox = Outbox(self._delivery)
        self._delivery.subscribe(self.reports)
        self._delivery.on_flush(self.reports.note_stored)
        self._watched = Watched()
        self._runs: OpenRuns[Run] = OpenRuns()
        self._lock = threading.Condition()
        self._waiting: deque[tuple[Run, FrameReference, float]] = deque()
        self._pending_bytes = 0
        self._working_since = math.inf
        self._closing = False
        self._thread = threading.Thread(target=self._work, name="speckle-classifier", daemon=True)
        self._thread.start()

    @property
    def classifier(self) -> Classifier:
        """The classifier of the next run, waiting for it if it is still being loaded."""
        return loaded(self._classifier)

    @property
    def frames(self) -> FrameSettings:
        """What the user said about frames, for the next run."""
        return self._frame_settings

    def change(
        self,
        classifier: Classifier | Future[Classifier] | None = None,
        frames: FrameSettings | None = None,
    ) -> None:
        """Take another network, or other settings of frames, for runs that begin from now on.

        Parameters
        ----------
        classifier : Classifier or Future of one, optional
        frames : FrameSettings, optional
        """
        with self._lock:
            self._classifier = classifier or self._classifier
            if frames is not None:
                self._frame_settings = self._opinions.frames = frames

    # Subscribing

    def subscribe(self, function: Callback, saves: bool = False) -> int:
        """Add a subscriber to raw and result documents; see :meth:`Delivery.subscribe`."""
        return self._delivery.subscribe(function, saves)

    def unsubscribe(self, token: int) -> None:
        """Remove a subscriber."""
        self._delivery.unsubscribe(token)

    def watch(self, watcher: Watcher | None) -> None:
        """Show the newest frames to somebody, with their results; one of each batch.

        Parameters
        ----------
        watcher : callable or None
            Called on the classifying thread, which waits for it: it is to put the frame down, and to go on.
            If it fails, that is logged, and it is not called again. None for nobody.
        """
        self._watched.watcher = watcher

    def backlog(self) -> tuple[int, float]:
        """Give the number of frames that wait for the network, and the seconds that the oldest has waited."""
        with self._lock:
            waiting = len(self._waiting)
            return waiting, time.monotonic() - self._waiting[0][2] if waiting else 0.0

    def close(self) -> None:
        """End the threads; what is queued is still delivered."""
        with self._lock:
            self._closing = True
            self._lock.notify_all()
        self._thread.join(timeout=10.0)
        self._opinions.close()
        self._delivery.close()

    # The RunEngine's thread

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document from the RunEngine."""
        if name == "stop":
            self._stop(doc)
        else:
            runs = [self._start(doc)] if name == "start" else self._runs.find(name, doc)
            self._delivery.put(name, doc, channels=[run.channel for run in runs])
            for run in runs:
                self._find_frames(run, name, doc)
        # Last, since the error may be of another run: what this document says is not to be lost by it.
        self._delivery.raise_error()

    def _find_frames(self, run: Run, name: str, doc: dict[str, Any]) -> None:
        """Queue the frames of a document. One that makes no sense costs their results, not the scan."""
        try:
            for reference in run.finder(name, doc):
                self._queue_frame(run, reference, self._served_folders.find_problem(reference))
        except Exception:
            logger.exception(
                "frames in a document %r of the run %s cannot be found; they are stored, but not classified",
                name,
                run.uid,
            )

    def _start(self, doc: dict[str, Any]) -> Run:
        choices = doc.get("classification")
        when_full = choices.get("when_full") if isinstance(choices, Mapping) else None
        if when_full not in ("wait", "defer"):
            when_full = self.settings.when_full
        uid, channel = doc["uid"], Channel()

        def compose(name: str, result: dict[str, Any]) -> None:
            self._outbox.add(channel, name, result)

        run = Run(
            uid,
            FrameFinder(self._frame_settings),
            RunResults(doc, compose, self._frame_settings),
            self._opinions.open_run(doc, compose, self._lock, self._outbox.hand_over),
            self._classifier,
            self._frame_settings,
            when_full,
            self._delivery.seconds_writing,
            channel=channel,
        )
        self._runs.close(uid)  # started twice: the saver says so, the results begin anew
        return self._runs.open(uid, run)

    def _queue_frame(self, run: Run, reference: FrameReference, problem: str) -> None:
        size = reference.detector.frame_bytes
        with self._lock:
            run.results.expect(reference, problem)
            if run.opinions is not None:
                run.opinions.expect(reference)
            patience = self.settings.wait_timeout if run.when_full == "wait" else 0.0
            if self._wait(lambda: self._has_room(size), patience):
                self._pending_bytes += size
                self._waiting.append((run, reference, time.monotonic()))
                self._lock.notify_all()
            else:
                run.results.defer(reference, "more frames waited than pending_bytes allows", ready(run))
        self._outbox.hand_over()

    def _wait(self, done: Callable[[], object], patience: float) -> bool:
        """Wait, with the lock held, for the classifying thread; but not for one that hangs."""
        deadline = time.monotonic() + patience
        while not done():
            hangs_at = self._working_since + self.settings.hang_timeout
            if (remaining := min(deadline, hangs_at) - time.monotonic()) <= 0:
                return False
            self._lock.wait(remaining)
        return True

    def _is_saturated(self) -> bool:
        """Tell whether the classifier has more to do than it can."""
        return len(self._waiting) >= self.settings.batch

    def _has_room(self, size: int) -> bool:
        """Tell whether a frame of this size in bytes may wait; one alone always may."""
        return not self._pending_bytes or self._pending_bytes + size <= self.settings.pending_bytes

    def _stop(self, doc: dict[str, Any]) -> None:
        run = self._runs.close(doc.get("run_start", ""))
        saved = threading.Event()
        if run is None:
            self._delivery.put("stop", doc, saved)
        else:
            self._find_frames(run, "stop", doc)
            with self._lock:
                waited = time.monotonic()
                self._wait(lambda: not run.results.outstanding, self.settings.drain_timeout)
                waited = time.monotonic() - waited
                run.results.defer_outstanding(
                    f"not classified {waited:.0f} s after the end of the run", ready(run)
                )
                run.closed = True
                run.results.times.add({"write": self._delivery.seconds_writing - run.seconds_writing})
                stop = run.results.stop(doc, run.finder.left_out)
                if SUMMARY in stop:
                    bounds = {"when_full": run.when_full, "pending_bytes": self.settings.pending_bytes}
                    stop[SUMMARY] |= bounds
                if run.opinions is not None:
                    stop = run.opinions.stop(stop)
                self._outbox.add(run.channel, "stop", stop, saved)
            self._outbox.hand_over()
        if not saved.wait(self.settings.save_timeout):
            logger.error(
                "run %s is not saved %g s after its end: saving goes on in the background",
                doc.get("run_start"),
                self.settings.save_timeout,
            )

    # The classifying thread

    def _work(self) -> None:
        while True:
            with self._lock:
                self._lock.wait_for(lambda: self._waiting or self._closing)
                if not self._waiting:
                    return
                self._working_since = time.monotonic()
                count = min(len(self._waiting), self.settings.batch)
                batch = [self._waiting.popleft() for _ in range(count)]
                for run, _, queued in batch:
                    run.results.times.add({"wait": self._working_since - queued})
            try:
                for one_classifier in by_classifier(batch):
                    self._classify_or_defer(one_classifier)
            finally:
                with self._lock:
                    self._working_since = math.inf
                    self._pending_bytes -= sum(frame.detector.frame_bytes for _, frame, _ in batch)
                    self._lock.notify_all()

    def _classify_or_defer(self, batch: Sequence[tuple[Run, FrameReference]]) -> None:
        """Classify; what fails is tried again in halves, for memory or a single bad frame, then deferred.

        All frames are of one classifier.
        """
        try:
            classifier = loaded(batch[0][0].classifier)
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

    def _defer(self, batch: Sequence[tuple[Run, FrameReference]], reason: str) -> None:
        with self._lock:
            for run, reference in batch:
                if not run.closed:
                    run.results.defer(reference, reason, ready(run))
        self._outbox.hand_over()

    def _classify(self, batch: Sequence[tuple[Run, FrameReference]], classifier: Classifier) -> None:
        """Read, label and close frames; those of one detector, which are corrected alike, together."""
        groups: dict[
            tuple[Detector, CorrectionFrames | None, CorrectionFrames | None],
            list[tuple[Run, FrameReference]],
        ] = {}
        for run, reference in batch:
            alike = (reference.detector, reference.darks, reference.flats)
            groups.setdefault(alike, []).append((run, reference))
        for (detector, *_), group in groups.items():
            run = group[0][0]  # a detector is that of one run
            known = run.detectors.setdefault(detector, KnownDetector(detector))
            references = [reference for _, reference in group]
            times = StageTimes()
            with times("read"):
                pixels = read_frames(references)
                problem = known.ask_file(references, pixels)
                corrected = known.correct(references[0], run.frames)
            labelled = known.label(classifier, pixels, times, corrected)
            with self._lock:
                run.results.times.add(times.seconds)
                run.results.note(problem)
                run.results.note_stated(detector.image_key, known.stated)
                for reference, frame, (result, reason) in zip(references, pixels, labelled, strict=True):
                    if run.closed:
                        continue
                    reference.detector = known.detector
                    run.results.close_frame(reference, result, classifier, reason)
                    if run.opinions is not None:
                        run.opinions.ask(reference, result, frame, classifier.bundle.class_names)
            self._outbox.hand_over()
            shown = [(run.uid, reference) for run, reference in group]
            self._watched.show_newest(shown, pixels, [result for result, _ in labelled])
