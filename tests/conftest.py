"""What holds for all tests: where Tiled looks for profiles, how long it tries, and the shared fixtures."""

from __future__ import annotations

import os
import signal
import tempfile

import pytest
from hypothesis import settings

# Tiled reads these when it is imported. Profiles of tests must not land among the user's own, and a
# server that is gone must not cost the tests minutes.
_profiles = tempfile.TemporaryDirectory(prefix="speckle-test-profiles-")
os.environ["TILED_PROFILES"] = _profiles.name
os.environ.setdefault("TILED_RETRY_ATTEMPTS", "2")
os.environ.setdefault("TILED_RETRY_TIMEOUT", "2")
# No settings of the user's own.
os.environ["SPECKLE_SETTINGS"] = ""
# A server ends with its last user: tests copy and compare data directories that are closed.
os.environ.setdefault("SPECKLE_SERVER_IDLE", "0")
# ophyd's, before it is imported: no client of EPICS but where a test wants one (`tests.ioc`).
os.environ.setdefault("OPHYD_CONTROL_LAYER", "dummy")

# A script's background job ignores Ctrl-C, and so do the commands that it starts; here they must not.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest.register_assert_rewrite("tests.testing")
pytest_plugins = ["tests.testing.fixtures"]

# The same examples in every run, so that a change which breaks nothing never fails; no limit of time.
settings.register_profile("deterministic", derandomize=True, deadline=None, database=None)
settings.load_profile("deterministic")
