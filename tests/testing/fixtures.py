"""Fixtures that tests of several rooms share; the root's conftest.py makes them known to all."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier, PipelineSettings, SecondOpinion
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.store import TiledStore
from speckle_plugin.store.server import join
from tests.testing.documents import Documents
from tests.testing.engine import CLASSES, FakeEngine
from tests.testing.warm_server import WarmServer


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Give a RunEngine; afterwards halt it, stop its loop and join its thread."""
    engine = RunEngine({}, call_returns_result=True)
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    # Devices of ophyd-async wait on the loop for frames that an aborted plan no longer takes.
    asyncio.run_coroutine_threadsafe(_cancel_tasks(), engine.loop).result(timeout=10)
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()  # noqa: SLF001  bluesky has no public way to end it
    engine.loop.close()


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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
        frames: FrameSettings | None = None,
        second_opinion: SecondOpinion | None = None,
        served_folders: Sequence[Path] = (),
        **settings: Any,
    ) -> LiveClassifier:
        bundle = Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {})
        classifier = Classifier(bundle, engine)
        pipeline = PipelineSettings(**settings)
        live = LiveClassifier(classifier, frames, pipeline, second_opinion, served_folders)
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

    def make(
        name: str = "det", kind: type[SpeckleDetector] = SpeckleDetector, **settings: Any
    ) -> SpeckleDetector:
        sample = SpeckleSample(name=f"{name}_sample", sample_map=SampleMap("gradient"), seed=1)
        settings = {"grid": quadrant(65), "data_directory": tmp_path / name, **settings}
        return kind(name=name, sample=sample, seed=2, **settings)

    return make


@pytest.fixture(scope="session")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty data directory that was opened once: Tiled takes seconds to make its databases."""
    directory = tmp_path_factory.mktemp("initialized") / "data"
    with TiledStore(directory):
        pass
    return directory


@pytest.fixture
def data_directory(initialized: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    return Path(shutil.copytree(initialized, tmp_path / "data"))


@pytest.fixture(scope="module")
def store(initialized: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    """A store of the module's own."""
    directory = tmp_path_factory.mktemp("store") / "data"
    shutil.copytree(initialized, directory)
    with TiledStore(directory) as opened:
        yield opened


@pytest.fixture(scope="session")
def published_frames() -> dict[str, NDArray[Any]]:
    """Give the frames that the paper's authors published, which are not ours to copy."""
    folder = os.environ.get("SPECKLE_SHARED")
    shared = Path(folder) if folder else Path(__file__).parents[3] / "shared"
    path = shared / "data" / "published_frames.npz"
    if not path.is_file():
        pytest.skip(f"the published frames are not here ({path}): set SPECKLE_SHARED to the folder of data/")
    with np.load(path) as archive:
        return dict(archive)


@pytest.fixture(autouse=True, scope="session")
def _servers_start_at_once() -> Iterator[None]:
    """Have the servers that this process starts be copies of one that has imported Tiled already."""
    warm = WarmServer(join.server_command)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "server_command", warm.server_command)
        yield
    warm.close()
