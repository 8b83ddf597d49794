"""Writing one run into Tiled so that it can be read while it grows.

`TiledRunWriter` collects rows and frame references and writes them when it is told to
(`flush`). `ResultStreamWriter` adds a result stream to a run that is finished.

Importing this module imports Tiled: do it where a run is about to be written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

from speckle_plugin.schema import STRUCTURE_SUMMARY, SUMMARY
from speckle_plugin.store.server.upstream.batched_run_writer import BatchedRunWriter, column_types
from speckle_plugin.store.server.upstream.checked_documents import FirstsChecked
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
        self._writer = BatchedRunWriter(runs.include_data_sources())
        self._storable = Storable()
        self._normalizer = FirstsChecked()
        self._normalizer.subscribe(self._writer)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a document. All but events and frame references go to Tiled at once."""
        for stored_name, stored in self._storable(name, doc):
            if stored_name == "descriptor":  # before the normalizer states types that nobody stated
                self._writer.types[stored["uid"]] = column_types(stored)
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
        self._writer = BatchedRunWriter(run.base)
        self._writer.root_node = run.base
        self._normalizer = FirstsChecked()
        self._normalizer.subscribe(self._writer)

    def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
        """Take a descriptor or an event."""
        self._normalizer(name, dict(doc))

    def flush(self) -> None:
        """Make the rows so far safe; no summary names their stream yet."""
        self._writer.flush()

    def publish(self, stop: Mapping[str, Any]) -> None:
        """Write what is left, then let the stop document's summaries and number of events be those given.

        That is one change of the run's metadata, of which the server keeps the state before.
        """
        self._writer.flush()
        # Not by update_metadata, which merges: labels that are gone would stay.
        changes = [
            {"op": "add", "path": f"/stop/{key}", "value": stop[key]}
            for key in (SUMMARY, STRUCTURE_SUMMARY, "num_events")
            if key in stop
        ]
        self._run.patch_metadata(metadata_patch=changes)
