"""What the pipeline keeps of an open run: among it the classifier that all its frames go to."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.documents.frame_finder import FrameFinder, FrameReference
from speckle_plugin.live.delivery import Channel
from speckle_plugin.live.known_detector import KnownDetector
from speckle_plugin.live.results import RunResults
from speckle_plugin.live.second_opinion import RunOpinions
from speckle_plugin.network.classifier import Classifier

__all__ = ["Run", "by_classifier", "loaded", "ready"]


@dataclass(eq=False)
class Run:
    """What the pipeline keeps of an open run."""

    uid: str
    finder: FrameFinder
    results: RunResults
    opinions: RunOpinions | None
    classifier: Classifier | Future[Classifier]
    frames: FrameSettings
    when_full: str
    seconds_writing: float
    detectors: dict[Detector, KnownDetector] = field(default_factory=dict)
    channel: Channel = field(default_factory=dict)
    closed: bool = False


def loaded(classifier: Classifier | Future[Classifier]) -> Classifier:
    """Give a classifier, waiting for it if it is still being loaded."""
    return classifier.result() if isinstance(classifier, Future) else classifier


def ready(run: Run) -> Classifier | None:
    """Give the classifier of a run if it is loaded, without waiting."""
    if not isinstance(run.classifier, Future):
        return run.classifier
    if run.classifier.done() and run.classifier.exception() is None:
        return run.classifier.result()
    return None


def by_classifier(
    batch: Sequence[tuple[Run, FrameReference, float]],
) -> list[list[tuple[Run, FrameReference]]]:
    """Put frames together whose runs have the same classifier; those of runs that have ended are left out."""
    groups: dict[int, list[tuple[Run, FrameReference]]] = {}
    for run, frame, _ in batch:
        if not run.closed:
            groups.setdefault(id(run.classifier), []).append((run, frame))
    return list(groups.values())
