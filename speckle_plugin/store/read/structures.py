"""The structure streams of a stored run: for which frames a second opinion was asked, and what it is."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import STRUCTURE_SOLVER, STRUCTURE_STREAM, Opinion, structure_keys
from speckle_plugin.store.read.results import StoredResult, read_configuration, read_rows

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["StoredStructures", "read_structures", "structure_streams"]


@dataclass(frozen=True)
class StoredStructures:
    """A structure stream.

    Parameters
    ----------
    configuration : mapping
        The solver's; empty without a stream.
    rows : mapping of (image key, frame index) to StoredResult
        By :func:`speckle_plugin.schema.structure_keys`; `disks` is a list of rows.
    """

    configuration: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[tuple[str, int], StoredResult] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """The solver's settings, by `SolveSettings.to_dict`; empty without a stream."""
        settings: dict[str, Any] = json.loads(self.configuration.get("settings") or "{}")
        return settings

    @property
    def answered(self) -> dict[tuple[str, int], StoredResult]:
        """The rows of the frames that were solved, or could not be."""
        return {f: row for f, row in self.rows.items() if row.data["certificate"] != Opinion.LEFT}


def read_structures(run: BlueskyRun, stream: str) -> StoredStructures:
    """Read a structure stream whole; without such a stream there are no rows."""
    return StoredStructures(
        read_configuration(run, stream, STRUCTURE_SOLVER), read_rows(run, stream, structure_keys(1), "disks")
    )


def structure_streams(run: BlueskyRun) -> list[str]:
    """Give the names of all structure streams, the oldest first, also of one that was not finished."""
    pattern = re.compile(rf"{STRUCTURE_STREAM}(?:_(\d+))?")
    numbers = {name: int(found[1] or 1) for name in run.base if (found := pattern.fullmatch(name))}
    return sorted(numbers, key=numbers.__getitem__)
