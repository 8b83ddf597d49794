"""A store that the tests of the folder share, and scans to save."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from bluesky import RunEngine
from bluesky import plans as bp
from ophyd.sim import SynAxis

from speckle_plugin.store import RunSaver, Store, TiledStore
from tests.store.postgres import find_binaries, postgres_cluster, tiled_on_postgres
from tests.testing import FakeClassifier, FileCamera, good


@pytest.fixture(scope="session")
def store(initialized: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    """One store for all modules of the folder: opening one takes seconds."""
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
