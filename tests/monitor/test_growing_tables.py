"""Tables that are not there yet when a run is looked at."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import pytest

from speckle_plugin.monitor import growing_tables
from speckle_plugin.monitor.growing_tables import GrowingTables


class Node:
    columns = ("seq_num", "time")

    def read(self, columns: Sequence[str]) -> pd.DataFrame:
        return pd.DataFrame({"seq_num": [1], "time": [1.0]})[list(columns)]


@dataclass
class Run:
    """A run that has ended, so that nothing listens."""

    base: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=lambda: {"stop": {}})


def test_events_are_looked_for_as_soon_as_results_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a run would be drawn without its positions, for as long as a missing table is not looked for."""
    monkeypatch.setattr(growing_tables, "SILENCE", 0.4)
    tables, run = GrowingTables(), Run()
    assert tables.read(run, "classification", ["seq_num"]) is None
    time.sleep(0.3)
    assert tables.read(run, "primary", ["seq_num"]) is None
    run.base = {f"{stream}/internal": Node() for stream in ("classification", "primary")}
    time.sleep(0.2)  # the results may be looked for again, the events not yet
    for stream in ("classification", "primary"):
        found = tables.read(run, stream, ["seq_num"])
        assert found is not None and list(found["seq_num"]) == [1]
