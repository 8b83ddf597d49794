"""A small detector, a fake engine behind the Engine protocol, and a list of what is delivered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import event_model
import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier, PipelineSettings
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import Preprocessing

CLASSES = tuple(range(2, 21))


class FakeEngine:
    """Answers at once, later, never, or with an error, as a test wants."""

    name = "fake"
    precision = "float32"
    device = "CPU"

    def __init__(self) -> None:
        self.delay = 0.0
        self.error: Exception | None = None
        self.may_answer = threading.Event()
        self.may_answer.set()
        self.batches: list[int] = []

    def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
        """Call every frame seven disks."""
        self.batches.append(len(inputs))
        self.may_answer.wait(30)
        time.sleep(self.delay)
        if self.error is not None:
            raise self.error
        logits = np.zeros((len(inputs), len(CLASSES)), np.float32)
        logits[:, CLASSES.index(7)] = 5.0
        return NetworkOutput(logits, np.zeros((len(inputs), 4), np.float32))


class Documents(list[tuple[str, dict[str, Any]]]):
    """A subscriber that keeps and validates what it gets."""

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take one document."""
        event_model.schema_validators[event_model.DocumentNames[name]].validate(doc)
        self.append((name, doc))

    def of(self, name: str) -> list[dict[str, Any]]:
        """Give all documents of one kind."""
        return [doc for kind, doc in self if kind == name]

    def rows(self, run_uid: str | None = None) -> list[dict[str, Any]]:
        """Give the data of the events of the classification stream."""
        descriptors = {
            d["uid"]
            for d in self.of("descriptor")
            if d["name"] == "classification" and run_uid in (None, d["run_start"])
        }
        return [e["data"] for e in self.of("event") if e["descriptor"] in descriptors]

    def books(self) -> list[dict[str, Any]]:
        """Give the summaries of the stop documents, each checked to balance."""
        summaries = [doc["classification"] for doc in self.of("stop") if "classification" in doc]
        for summary in summaries:
            parts = summary["classified"] + summary["flagged"] + summary["deferred"]
            assert summary["frames"] == parts
        return summaries


@pytest.fixture
def engine() -> FakeEngine:
    """Give an engine that calls everything seven."""
    return FakeEngine()


@pytest.fixture
def documents() -> Documents:
    """Give an empty list of documents."""
    return Documents()


@pytest.fixture
def make_live(engine: FakeEngine, documents: Documents) -> Iterator[Callable[..., LiveClassifier]]:
    """Give a maker of live classifiers on the fake engine; all are closed at the end."""
    made: list[LiveClassifier] = []

    def make(
        frames: FrameSettings | None = None, served_folder: Path | None = None, **settings: Any
    ) -> LiveClassifier:
        bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {})
        live = LiveClassifier(Classifier(bundle, engine), frames, PipelineSettings(**settings), served_folder)
        live.subscribe(documents)
        made.append(live)
        return live

    yield make
    engine.may_answer.set()
    for live in made:
        live.close()


@pytest.fixture
def make_detector(tmp_path: Path) -> Callable[..., SpeckleDetector]:
    """Give a maker of detectors of 65 x 65 pixels."""

    def make(name: str = "det", **settings: Any) -> SpeckleDetector:
        sample = SpeckleSample(name=f"{name}_sample", sample_map=SampleMap("gradient"), seed=1)
        settings = {"grid": quadrant(65), "data_directory": tmp_path / name, **settings}
        return SpeckleDetector(name=name, sample=sample, seed=2, **settings)

    return make
