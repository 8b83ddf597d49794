"""The results of one run: its `classification` stream, its frame counts and its summary.

A frame is expected from its event on, and closed when its result is known. In the stop document the frame
counts balance: frames = classified + flagged + deferred.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from speckle_plugin.documents.derived_stream import DerivedStream
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.network.choosing import why_chosen
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.schema import (
    CHOSEN_AMONG,
    CLASS_NAMES,
    CLASSES,
    CLASSIFICATION_STREAM,
    CLASSIFIER,
    LEFT_OUT,
    NETWORKS,
    NEWEST_STREAM,
    POSSIBLE,
    SEVERAL_NETWORKS,
    STATED_BY_FILES,
    SUMMARY,
    Flag,
    Status,
    compose_summary,
    configuration_keys,
    join_flags,
    join_numbers,
    result_keys,
    split_flags,
    split_numbers,
)
from speckle_plugin.stage_times import StageTimes

__all__ = ["RunResults"]

UNAVAILABLE = "unavailable"

LONGEST_REASON = 500
"""Characters of a reason that stand in the summary; the log has it whole."""


class RunResults:
    """Composes the result documents of one run. Not thread-safe: the pipeline holds its lock.

    Parameters
    ----------
    start : dict
        The run's start document.
    emit : callable
        Given (name, document) in the order in which they are to be delivered.
    frames : FrameSettings
        What the user said about frames; it is recorded with the results.
    clock : callable
        Gives the time in seconds since the epoch.
    stream : str
        Name of the stream of results.

    Attributes
    ----------
    times : StageTimes
        Where the time went; its mean over the frames is in the summary.
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        emit: Callable[[str, Any], None],
        frames: FrameSettings,
        clock: Callable[[], float] = time.time,
        stream: str = CLASSIFICATION_STREAM,
    ) -> None:
        self._start = start
        self._stream = stream
        self._emit = emit
        self._settings = frames
        self._clock = clock
        self._rows: DerivedStream | None = None
        self._classes = 0
        self._model: dict[str, Any] = {}
        self._networks: dict[str, dict[str, str]] = {}
        self._open: dict[tuple[str, int], FrameReference] = {}
        self._statuses: Counter[Status] = Counter()
        self._labels: Counter[int] = Counter()
        self._odd_labels: Counter[int] = Counter()
        self._possible: Counter[int] = Counter()
        self._flags: Counter[str] = Counter()
        self._problems: Counter[str] = Counter()
        self._lowest_confidence = 1.0
        self._stated: dict[str, dict[str, Any]] = {}
        self._held: list[tuple[FrameReference, FrameResult, str]] = []
        self.times = StageTimes()

    @property
    def frames(self) -> int:
        """Number of frames so far, with a result or without."""
        return sum(self._statuses.values()) + len(self._held) + len(self._open)

    @property
    def outstanding(self) -> int:
        """Number of frames without a result yet."""
        return len(self._open)

    def expect(self, reference: FrameReference, problem: str = "") -> None:
        """Count a frame, whose result is still to come; and what is wrong with it, though it may have one."""
        self._open[self._key(reference)] = reference
        self.note(problem)

    def close_frame(
        self,
        reference: FrameReference,
        result: FrameResult,
        classifier: Classifier | None,
        problem: str = "",
    ) -> None:
        """Emit the result of a frame; a second result for the same frame is dropped.

        Until a classifier says what the stream is like, results are held back.
        """
        if self._open.pop(self._key(reference), None) is None:
            return
        k_step = reference.detector.k_step
        chosen = classifier.ready_for(k_step) if classifier else None
        if classifier and chosen and result.status is not Status.DEFERRED:
            self._note_network(reference.detector.image_key, classifier, k_step)
        reference.pixels = None  # results may be held back for long, and bytes count frames that wait only
        self._held.append((reference, result, problem))
        if self._rows or chosen:
            self._emit_held(classifier, k_step)

    def _emit_held(self, classifier: Classifier | None, k_step: float | None = None) -> None:
        rows = self._rows or self._describe(classifier, k_step)
        held, self._held = self._held, []
        for reference, result, problem in held:
            self._emit_result(rows, reference, result, problem)

    def _emit_result(
        self, rows: DerivedStream, reference: FrameReference, result: FrameResult, problem: str
    ) -> None:
        now = self._clock()
        latency = max(now - reference.timestamp, 0.0) if reference.timestamp else 0.0
        data = {
            "image_key": reference.detector.image_key,
            "frame_index": int(reference.frame_index),
            "primary_seq_num": int(reference.seq_num),
            "status": str(result.status),
            "disk_number": int(result.disk_number),
            "confidence": float(result.confidence),
            "probabilities": np.resize(result.probabilities, self._classes).astype(float).tolist(),
            "entropy": float(result.entropy),
            "novelty": float(result.novelty),
            "flags": join_flags(result.flags),
            POSSIBLE: join_numbers(result.possible),
            "latency": latency,
        }
        self._emit_row(rows, data, now)
        self.note(problem)

    def note(self, problem: str) -> None:
        """Count a problem, which the summary states; nothing if it is empty."""
        if problem:
            self._problems[problem[:LONGEST_REASON]] += 1

    def note_stated(self, image_key: str, stated: Mapping[str, Any]) -> None:
        """Keep what a detector's file said of its frames, for the summary."""
        if stated:
            self._stated[image_key] = dict(stated)

    def _emit_row(self, rows: DerivedStream, data: Mapping[str, Any], when: float) -> None:
        rows.add(data, when)
        self._statuses[Status(data["status"])] += 1
        self._flags.update(str(flag) for flag in split_flags(data["flags"]))
        if data["status"] == Status.CLASSIFIED:
            odd = Flag.OUT_OF_DISTRIBUTION in split_flags(data["flags"])
            (self._odd_labels if odd else self._labels)[data["disk_number"]] += 1
            if not odd:
                self._possible.update(split_numbers(data[POSSIBLE]))
            self._lowest_confidence = min(self._lowest_confidence, data["confidence"])

    def take_over(
        self,
        data: Mapping[str, Any],
        when: float,
        classifier: Classifier,
        problem: str = "",
        k_step: float | None = None,
    ) -> None:
        """Emit a row of an earlier result stream as it is, with the time when it was made."""
        self._emit_row(self._rows or self._describe(classifier, k_step), data, when)
        self._note_network(data["image_key"], classifier, k_step)
        self.note(problem)

    def _note_network(self, image_key: str, classifier: Classifier, k_step: float | None) -> None:
        """Keep which network the frames of an image key have, and why."""
        if image_key in self._networks:
            return
        chosen = classifier.for_k_step(k_step)
        self._networks[image_key] = {
            "model": chosen.bundle.name,
            "model_version": chosen.bundle.version,
            "weights_sha256": chosen.bundle.sha256,
            "why": why_chosen(chosen, k_step, by_k_step=bool(classifier.chosen_among)),
        }

    def defer(self, reference: FrameReference, reason: str, classifier: Classifier | None) -> None:
        """Close a frame without a label, to be classified later from what is stored."""
        classes = len(classifier.bundle.classes) if classifier else 1
        result = FrameResult(Status.DEFERRED, np.zeros(classes, np.float32))
        self.close_frame(reference, result, classifier, problem=reason)

    def defer_outstanding(self, reason: str, classifier: Classifier | None) -> None:
        """Defer every frame that has no result yet."""
        for reference in list(self._open.values()):
            self.defer(reference, reason, classifier)

    def stop(self, doc: Mapping[str, Any], left_out: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Give the run's stop document with the stream's events counted and the summary added.

        Parameters
        ----------
        doc : mapping
            The stop document.
        left_out : mapping
            Image keys whose images are no frames, and why; the summary repeats it.
        """
        if self._open:
            raise RuntimeError(f"{len(self._open)} frames have no result yet")
        frames = self.frames
        if not frames and not left_out:
            return dict(doc)
        if self._held:
            self._emit_held(None)
        lowest_confidence = self._lowest_confidence if self._statuses[Status.CLASSIFIED] else None
        summary = compose_summary(
            self._labels,
            self._statuses,
            self._flags,
            lowest_confidence,
            self._model,
            self._odd_labels,
            self._possible,
        )
        if left_out:
            summary[LEFT_OUT] = dict(left_out)
        if not frames:
            return {**doc, SUMMARY: summary}
        summary[NEWEST_STREAM] = self._stream
        if self._networks:
            summary[NETWORKS] = self._networks
            if len({network["weights_sha256"] for network in self._networks.values()}) > 1:
                summary[SEVERAL_NETWORKS] = True
        summary["seconds_per_frame"] = {k: v / frames for k, v in self.times.seconds.items()}
        if self._stated:
            summary[STATED_BY_FILES] = self._stated
        if self._problems:
            summary["problems"] = [{"reason": r, "frames": n} for r, n in self._problems.most_common(10)]
        num_events = {**doc.get("num_events", {}), self._stream: frames}
        return {**doc, "num_events": num_events, SUMMARY: summary}

    def _describe(self, classifier: Classifier | None, k_step: float | None) -> DerivedStream:
        """Begin the stream, which names the network of its first frame."""
        among = classifier.chosen_among if classifier else ()
        classifier = classifier.for_k_step(k_step) if classifier else None
        bundle = classifier.bundle if classifier else None
        self._classes = len(bundle.classes) if bundle else 1
        self._model = {
            "model": bundle.name if bundle else UNAVAILABLE,
            "model_version": bundle.version if bundle else "",
            "weights_sha256": bundle.sha256 if bundle else "",
            "preprocessing_hash": bundle.preprocessing.hash if bundle else "",
            "trust_sha256": classifier.trust.sha256 if classifier and classifier.trust else "",
            "engine": classifier.engine.name if classifier else UNAVAILABLE,
            "precision": classifier.engine.precision if classifier else "",
            "device": classifier.engine.device if classifier else "",
            "temperature": float(bundle.temperature) if bundle else 1.0,
            CLASSES: list(bundle.classes) if bundle else [],
            CLASS_NAMES: list(bundle.class_names) if bundle else [],
            CHOSEN_AMONG: list(among),
            **self._settings.to_configuration(),
        }
        self._rows = DerivedStream(
            self._start,
            self._emit,
            stream=self._stream,
            computer=CLASSIFIER,
            data_keys=result_keys(self._classes),
            configuration=self._model,
            configuration_keys=configuration_keys(),
            hints=["disk_number", "confidence"],
            clock=self._clock,
        )
        return self._rows

    @staticmethod
    def _key(reference: FrameReference) -> tuple[str, int]:
        return reference.detector.image_key, reference.frame_index
