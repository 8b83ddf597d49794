"""Sessions that store without labels, and workers on a small network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import bluesky.plans as bp
import pytest

from simulated_devices import SpeckleDetector
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.network import Bundle, find_bundle, save_bundle
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.session import Session, start_session
from speckle_plugin.worker import Worker


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The shipped network for frames of 65 x 65 pixels, where its labels mean nothing."""
    return replace(find_bundle(), name="small", preprocessing=Preprocessing(crop=64), feature_statistics=None)


@pytest.fixture(scope="session")
def bundle_file(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "small.bundle"
    save_bundle(bundle, path)
    return path


@pytest.fixture
def session(data_directory: Path) -> Iterator[Session]:
    """A session that stores, and classifies nothing."""
    with start_session(data_directory, engine="none", table=False) as session:
        yield session


@pytest.fixture
def measure(session: Session, make_detector: Callable[..., SpeckleDetector]) -> Callable[[int], str]:
    """Scan so many frames into the session; gives the run's uid."""
    det = make_detector(data_directory=session.store.frames_directory)

    def scan(frames: int) -> str:
        return cast("tuple[str, ...]", session.RE(bp.count([det], frames)))[0]

    return scan


@pytest.fixture
def make_worker(session: Session, bundle_file: Path) -> Iterator[Callable[..., Worker]]:
    """Make workers on the session's store."""
    from speckle_plugin.network import load_bundle

    made: list[Worker] = []

    def make(leases: Path | None = None, frames: FrameSettings | None = None) -> Worker:
        folder = leases or session.store.frames_directory.parent / "workers"
        made.append(Worker(session.store, folder, load_bundle(bundle_file), "openvino", frames))
        return made[-1]

    yield make
    for worker in made:
        worker.close()
