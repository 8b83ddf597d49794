"""A store that the tests of the folder share, directories for stores of their own, scans to save."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

# Before Tiled is imported: a server that is gone must not cost the tests minutes.
os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
os.environ.setdefault("TILED_RETRY_TIMEOUT", "2")
sys.path.insert(0, str(Path(__file__).parents[2]))  # for tests.storage.storage_stand_ins

from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis

from speckle_plugin.storage import RunSaver, Store, TiledStore
from tests.storage.postgres import find_binaries, postgres_cluster, tiled_on_postgres
from tests.storage.storage_stand_ins import FakeClassifier, FileCamera, good


@pytest.fixture(scope="session")
def initialized(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty data directory that was opened once: Tiled takes seconds to make its databases."""
    directory = tmp_path_factory.mktemp("initialized") / "data"
    with TiledStore(directory):
        pass
    return directory


@pytest.fixture(scope="session")
def store(initialized: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    directory = tmp_path_factory.mktemp("shared") / "data"
    shutil.copytree(initialized, directory)
    with TiledStore(directory) as opened:
        yield opened


@pytest.fixture(scope="session")
def postgres_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    """A Tiled server, in a process of its own, whose catalog and tables are in PostgreSQL."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip("no PostgreSQL server is installed (initdb, postgres): .ci/install-debian does it")
    with (
        postgres_cluster(binaries) as make_database,
        tiled_on_postgres(make_database, tmp_path_factory.mktemp("postgres")) as store,
    ):
        yield store


@pytest.fixture
def data_directory(initialized: Path, tmp_path: Path) -> Path:
    """A data directory of the test's own."""
    return Path(shutil.copytree(initialized, tmp_path / "data"))


@pytest.fixture
def measure(run_engine: RunEngine) -> Callable[..., str]:
    """Scan a motor with a camera, save and classify; gives the run's uid."""

    def scan(
        store: Store,
        results: Sequence[tuple[str, int, float, str]] = (good(7),),
        positions: Sequence[float] = (0, 0.5, 1),
        frames_per_trigger: int = 1,
        model: str = "mono",
        after: Callable[[RunSaver, str, dict[str, Any]], None] | None = None,
        **metadata: Any,
    ) -> str:
        saver = RunSaver(store.runs, store.journal_directory)
        camera: Any = FileCamera("det", store.frames_directory, frames_per_trigger)
        motor: Any = SynAxis(name="stage_x", labels={"motors"})
        tokens = [run_engine.subscribe(FakeClassifier(saver, results, model))]
        if after is not None:
            tokens.append(run_engine.subscribe(lambda name, doc: after(saver, name, doc)))
        arguments: tuple[Any, ...] = (motor, list(positions))
        result: Any = run_engine(bp.list_scan([camera], *arguments, md=metadata))
        for token in tokens:
            run_engine.unsubscribe(token)
        saver.close()
        return str(result.run_start_uids[0])

    return scan
