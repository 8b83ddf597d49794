"""Writing one run into Tiled so that it can be read while it grows.

`TiledRunWriter` collects rows and frame references and writes them when it is told to
(`flush`), where bluesky-tiled-plugins' own writer counts documents: a batch of 1 costs a
tenth of a second a frame, a batch of 10000 shows nothing before the end. It builds on that
writer's private parts, so the version of bluesky-tiled-plugins is pinned. `ResultStreamWriter`
adds a result stream to a run that is finished.

Importing this module imports Tiled: do it where a run is about to be written.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
from bluesky_tiled_plugins.writing.consolidators import ConsolidatorBase, Patch
from bluesky_tiled_plugins.writing.tiled_writer import RunNormalizer, _RunWriter
from event_model.documents import Event, EventDescriptor
from tiled.client.base import BaseClient

from speckle_plugin.schema import SUMMARY
from speckle_plugin.store.write.storable import Storable

__all__ = ["ResultStreamWriter", "TiledRunWriter"]


class TiledRunWriter:
    """A callback that writes one run into a catalog.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns
        The catalog.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns) -> None:
        self._writer = _BatchedRunWriter(runs.include_data_sources())
        self._storable = Storable()
        self._normalizer = RunNormalizer()
        self._normalizer.subscribe(self._writer)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document. All but events and frame references go to Tiled at once."""
        for stored_name, stored in self._storable(name, doc):
            if stored_name == "descriptor":  # before the normalizer states types that nobody stated
                self._writer.types[stored["uid"]] = _column_types(stored)
            self._normalizer(stored_name, stored)

    def flush(self) -> None:
        """Make everything taken so far visible to readers."""
        self._writer.flush()


class ResultStreamWriter:
    """A callback that writes the documents of one more stream into a finished run.

    Parameters
    ----------
    run : BlueskyRun
        The run. It stays as it was until `publish`.
    """

    def __init__(self, run: BlueskyRun) -> None:
        self._run = run
        self._writer = _BatchedRunWriter(run.base)
        self._writer.root_node = run.base
        self._normalizer = RunNormalizer()
        self._normalizer.subscribe(self._writer)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a descriptor or an event."""
        self._normalizer(name, dict(doc))

    def publish(self, stop: Mapping[str, Any]) -> None:
        """Write what is left, then let the stop document's summary and number of events be those given.

        That is one change of the run's metadata, of which the server keeps the state before.
        """
        self._writer.flush()
        # Not by update_metadata, which merges: labels that are gone would stay.
        changes = [
            {"op": "add", "path": f"/stop/{key}", "value": stop[key]} for key in (SUMMARY, "num_events")
        ]
        self._run.patch_metadata(metadata_patch=changes)


class _BatchedRunWriter(_RunWriter):
    """The writer of bluesky-tiled-plugins, told when to write, with columns of steady types."""

    def __init__(self, client: BaseClient) -> None:
        super().__init__(client)
        self.types: dict[str, dict[str, str]] = {}
        self._registered: dict[str, int] = {}

    def flush(self) -> None:
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
        self.types.setdefault(doc["uid"], _column_types(doc))
        super().descriptor(doc)

    def stop(self, doc: Any) -> None:
        self.flush()
        super().stop(doc)

    def event(self, doc: Event) -> None:
        types = self.types[doc["descriptor"]]
        for key, value in doc["data"].items():
            if types.get(key) == UNDECIDED and value is not None:
                types[key] = _integer_or_number(value)
        super().event({**doc, "data": {k: _steady(v, types.get(k)) for k, v in doc["data"].items()}})


UNDECIDED = "integer or number"
"""The type of a column until its first value comes."""


def _column_types(descriptor: Mapping[str, Any]) -> dict[str, str]:
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
