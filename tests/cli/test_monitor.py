"""Bad input of `speckle monitor`; its pages are in tests/monitor."""

from __future__ import annotations

import pytest

from tests.testing.commands import Refused


def test_where_the_runs_are_has_to_be_told(refused: Refused) -> None:
    refused("monitor", "--data", "nothing", why="nothing is no data directory: give --data")
    refused("monitor", "--server", "http://127.0.0.1:9", why="no Tiled server answers at http://127.0.0.1:9")
    refused("monitor", "--server", "nobody", why="there is no Tiled profile 'nobody'")
    refused("monitor", "--port", "70000", why="less than or equal to 65535")


def test_a_short_key_is_none(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPECKLE_MONITOR_KEY", "1234")
    refused("monitor", "--data", "nothing", why="SPECKLE_MONITOR_KEY has 4 characters: give 8 or more")
