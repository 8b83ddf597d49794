"""Fixtures that the tests of all packages share."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

# Tiled reads this when it is imported; profiles of tests must not land among the user's own.
_profiles = tempfile.TemporaryDirectory(prefix="speckle-test-profiles-")
os.environ["TILED_PROFILES"] = _profiles.name
# ophyd's, before it is imported: no client of EPICS but where a test wants one (`tests.ioc`).
os.environ.setdefault("OPHYD_CONTROL_LAYER", "dummy")


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
    engine._th.join()
    engine.loop.close()


async def _cancel_tasks() -> None:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.fixture(scope="session")
def published_frames() -> dict[str, NDArray[Any]]:
    """Give the frames that the paper's authors published, which are not ours to copy."""
    folder = os.environ.get("SPECKLE_SHARED")
    shared = Path(folder) if folder else Path(__file__).parents[2] / "shared"
    path = shared / "data" / "published_frames.npz"
    if not path.is_file():
        pytest.skip(f"the published frames are not here ({path}): set SPECKLE_SHARED to the folder of data/")
    with np.load(path) as archive:
        return dict(archive)
