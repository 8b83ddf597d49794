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
from collections.abc import Collection
from typing import Any

import numpy as np
from bluesky_tiled_plugins.writing.consolidators import ConsolidatorBase, Patch
from bluesky_tiled_plugins.writing.tiled_writer import _RunWriter
from event_model.documents import Event, EventDescriptor
from tiled.client.base import BaseClient

__all__ = ["BatchedRunWriter"]


class BatchedRunWriter(_RunWriter):
    """The writer of bluesky-tiled-plugins, told when to write, with columns of steady types."""

    def __init__(self, client: BaseClient) -> None:
        super().__init__(client)
        self._types: dict[str, dict[str, str]] = {}
        self._moved: frozenset[str] = frozenset()
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

    def start(self, doc: Any) -> None:
        """Begin a run."""
        self._moved = frozenset(doc.get("motors", ()))
        super().start(doc)

    def descriptor(self, doc: EventDescriptor) -> None:
        """Begin a stream."""
        self._types[doc["uid"]] = _column_types(doc, self._moved)
        super().descriptor(doc)

    def stop(self, doc: Any) -> None:
        """Write what was collected, and the end of the run."""
        self.flush()
        super().stop(doc)

    def event(self, doc: Event) -> None:
        """Collect a row."""
        types = self._types[doc["descriptor"]]
        super().event({**doc, "data": {k: _steady(v, types.get(k)) for k, v in doc["data"].items()}})


def _column_types(descriptor: EventDescriptor, moved: Collection[str]) -> dict[str, str]:
    """Give the type of each column: that which its key declares, but moved objects are numbers.

    A motor that stands at 0 when it is described declares an integer, and the table, made
    of the first rows, would refuse the position 0.5 in mid-scan.
    """
    objects = descriptor.get("object_keys", {})
    positions = {key for name in moved for key in objects.get(name, ())}
    types: dict[str, str] = {}
    for key, spec in descriptor["data_keys"].items():
        kind: str = spec["dtype"]
        if kind == "integer" and key in positions:
            kind = "number"
        types[key] = kind
    return types


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
