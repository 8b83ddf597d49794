"""Fixtures that the tests of all packages share."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator

import pytest
from bluesky import RunEngine

# Tiled reads this when it is imported; profiles of tests must not land among the user's own.
os.environ["TILED_PROFILES"] = tempfile.mkdtemp(prefix="speckle-test-profiles-")


@pytest.fixture
def run_engine() -> Iterator[RunEngine]:
    """Give a RunEngine; afterwards halt it, stop its loop and join its thread."""
    engine = RunEngine({}, call_returns_result=True)
    yield engine
    if engine.state not in ("idle", "panicked"):
        engine.halt()
    engine.loop.call_soon_threadsafe(engine.loop.stop)
    engine._th.join()
    engine.loop.close()
