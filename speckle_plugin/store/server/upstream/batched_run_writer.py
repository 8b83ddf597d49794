"""The writer of bluesky-tiled-plugins, told when to write.

That writer (2.0) counts documents: a batch of 1 costs a tenth of a second a frame, a batch of 10000 shows
nothing before the end of the run. `BatchedRunWriter` builds on its private parts, so pyproject.toml has
bounds on the version. It would end when that writer has a `flush`, hands over new files only, and keeps the
types of columns.

It writes in the measuring process, by the server's public routes. Importing this module imports Tiled.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from bluesky_tiled_plugins.writing.consolidators import ConsolidatorBase, Patch
from bluesky_tiled_plugins.writing.tiled_writer import _RunWriter
from event_model.documents import Event, EventDescriptor
from tiled.client.base import BaseClient

__all__ = ["BatchedRunWriter", "column_types"]


class BatchedRunWriter(_RunWriter):
    """The writer of bluesky-tiled-plugins, told when to write, with columns of steady types."""

    def __init__(self, client: BaseClient) -> None:
        super().__init__(client)
        self.types: dict[str, dict[str, str]] = {}
        self._registered: dict[str, int] = {}

    def flush(self) -> None:
        """Write what was collected."""
        # As its stop() does, but the frames first: a row that is visible has its frame.
        updated: defaultdict[tuple[BaseClient, ConsolidatorBase], list[Patch]] = defaultdict(list)
        for stream_datum in self._external_data_cache.values():
            node, consolidator, patch = self._update_consolidator(stream_datum)
            updated[node, consolidator].append(patch)
        self._external_data_cache.clear()
        for (node, consolidator), patches in updated.items():
            data_source = consolidator.get_data_source()
            # The server adds the files that it is told of to those that it knows, with
            # several queries for each: telling it all of them each time, as stop() does,
            # took 6 s a flush after 600 exposures.
            known = self._registered.get(node.uri, 0)
            self._registered[node.uri] = len(data_source.assets)
            data_source.assets = data_source.assets[known:]
            self._update_data_source_for_node(node, data_source, Patch.combine_patches(patches))
        for stream, rows in self._internal_data_cache.items():
            if rows:
                self._write_internal_data(rows, desc_node=self._desc_nodes[stream])
                rows.clear()

    def _append_with_retry(self, df_client: Any, table: Any, desc_name: str) -> None:
        # Once: an append without an answer may have been done, and a second one would double the rows.
        # What fails here stays in the journal, and replaying begins the run anew.
        df_client.append_partition(0, table)

    def descriptor(self, doc: EventDescriptor) -> None:
        """Begin a stream."""
        self.types.setdefault(doc["uid"], column_types(doc))
        super().descriptor(doc)

    def stop(self, doc: Any) -> None:
        """Write what was collected, and the end of the run."""
        self.flush()
        super().stop(doc)

    def event(self, doc: Event) -> None:
        """Collect a row."""
        types = self.types[doc["descriptor"]]
        for key, value in doc["data"].items():
            if types.get(key) == UNDECIDED and value is not None:
                types[key] = _integer_or_number(value)
        super().event({**doc, "data": {k: _steady(v, types.get(k)) for k, v in doc["data"].items()}})


UNDECIDED = "integer or number"
"""The type of a column until its first value comes."""


def column_types(descriptor: Mapping[str, Any]) -> dict[str, str]:
    """Give the type of each column: that which its key declares, if it declares one for all its values.

    ophyd's signals are described by the value that they happen to have: a motor or a ring current at 0
    declares an integer, and the table, made of the first rows, would refuse the 20.5 in mid-scan. An
    integer that states its size, `dtype_numpy`, is one.
    """
    types: dict[str, str] = {}
    for key, spec in descriptor["data_keys"].items():
        kind: str = spec["dtype"]
        types[key] = UNDECIDED if kind == "integer" and not _is_signed(spec.get("dtype_numpy")) else kind
    return types


def _is_signed(dtype: Any) -> bool:
    """Tell whether a data type is stated, and its values fit an integer of the table."""
    return isinstance(dtype, str) and np.can_cast(np.dtype(dtype), np.int64)


def _integer_or_number(value: Any) -> str:
    """Choose by a first value: an integer that a float would change is kept, if the table can hold it."""
    exact = isinstance(value, int) and int(float(value)) == value
    fits = isinstance(value, int) and -(2**63) <= value < 2**63
    return "integer" if fits and not exact else "number"


def _steady(value: Any, kind: str | None) -> Any:
    """Make a value plain Python of one type, whatever the value in the first row was."""
    if isinstance(value, np.generic | np.ndarray):
        value = value.tolist()
    if kind == "number":
        return math.nan if value is None else float(value) if isinstance(value, int) else value
    if kind == "integer" and isinstance(value, float) and value.is_integer():
        return int(value)
    if kind == "string" and value is None:
        return ""
    return value
