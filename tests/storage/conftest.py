"""A RunEngine, a store that all tests of the folder share, and short retries."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# Before Tiled is imported: a server that is gone must not cost the tests minutes.
os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
os.environ.setdefault("TILED_RETRY_TIMEOUT", "2")
sys.path.insert(0, str(Path(__file__).parent))

from bluesky import RunEngine

from speckle_plugin.storage import TiledStore


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    loop = asyncio.new_event_loop()
    engine = RunEngine({}, loop=loop, context_managers=[])
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    loop.call_soon_threadsafe(loop.stop)
    engine._th.join()
    loop.close()


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    with TiledStore(tmp_path_factory.mktemp("store")) as opened:
        yield opened


@pytest.fixture
def thread_count() -> Iterator[Any]:
    before = threading.active_count()
    yield before
