"""The one reader of stored runs: what is in a run, whichever version of this package stored it.

Queries, reprocessing, explanations, pictures, retraining and the command line read runs by a
:class:`StoredRun`, so that they agree on what an image is, which frames there are and which results hold.
Everything is read when it is asked for, and kept: make a new one to see how a run has grown.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.images import holds_images
from speckle_plugin.schema import PRIMARY, SUMMARY, newest_stream, split_image_key
from speckle_plugin.store.read.events import StreamEvents, read_columns
from speckle_plugin.store.read.images import StoredImages
from speckle_plugin.store.read.results import StoredResults, free_stream, read_model, read_results

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from pandas import DataFrame

__all__ = ["StoredRun"]


class StoredRun:
    """A run of a Tiled catalog.

    Parameters
    ----------
    run : BlueskyRun

    Examples
    --------
    >>> stored = StoredRun(catalog[-1])
    >>> {key: len(images) for key, images in stored.images.items()}
    {'det_image': 25}
    >>> first, = stored.images["det_image"].read([0])
    """

    def __init__(self, run: BlueskyRun) -> None:
        self.run = run
        self._events: dict[str, StreamEvents] = {}
        self._images: dict[tuple[str, str], StoredImages] = {}

    @property
    def uid(self) -> str:
        """Uid of the run."""
        return str(self.start["uid"])

    @property
    def start(self) -> Mapping[str, Any]:
        """The start document."""
        return self.run.start

    @property
    def stop(self) -> Mapping[str, Any] | None:
        """The stop document; None while the run is open, or if its process was killed."""
        return self.run.metadata.get("stop")

    @property
    def summary(self) -> Mapping[str, Any]:
        """The summary of the newest results; empty without any."""
        return (self.stop or {}).get(SUMMARY) or {}

    # Frames

    @cached_property
    def images(self) -> dict[str, StoredImages]:
        """The frames of all streams by their image key, classified or not."""
        every = [
            self._images_under(events, key)
            for events in (self._add(stream, node) for stream, node in self.run.base.items())
            for key, spec in events.data_keys.items()
            if holds_images(spec)
        ]
        return {images.image_key: images for images in every}

    def images_of(self, image_key: str) -> StoredImages:
        """Give the frames that results name by an image key.

        Raises
        ------
        ValueError
            If no stream has it.
        """
        stated, data_key = split_image_key(image_key)
        for stream in [stated] if stated else self._likely_streams():
            events = self.events(stream)
            if events is not None and data_key in events.data_keys:
                return self._images_under(events, data_key)
        raise ValueError(f"no stream of the run {self.uid} has the image key {image_key!r}")

    def _images_under(self, events: StreamEvents, data_key: str) -> StoredImages:
        return self._images.setdefault((events.stream, data_key), StoredImages(events, data_key))

    def _likely_streams(self) -> Iterator[str]:
        """Give `primary` first, since listing the others is one more request; older versions name none."""
        return itertools.chain([PRIMARY], (name for name in self.run.base if name != PRIMARY))

    def events(self, stream: str) -> StreamEvents | None:
        """Give the events of a stream; None if the run has no such stream."""
        if stream not in self._events:
            try:
                self._add(stream, self.run.base[stream])
            except KeyError:
                return None
        return self._events[stream]

    def _add(self, stream: str, node: Any) -> StreamEvents:
        return self._events.setdefault(stream, StreamEvents(self.run, stream, node.metadata))

    # Results

    @property
    def result_stream(self) -> str:
        """Name of the newest result stream, which the summary is of; that which live results have, else."""
        return newest_stream(self.stop)

    @cached_property
    def model(self) -> Mapping[str, Any]:
        """The classifier's configuration in the newest results; empty without any."""
        return read_model(self.run, self.result_stream)

    @property
    def settings(self) -> FrameSettings:
        """What the session was told of the frames, as far as the results say; the masks they do not hold."""
        return FrameSettings.from_configuration(self.model)

    @cached_property
    def results(self) -> StoredResults:
        """The newest results, whole."""
        return read_results(self.run, self.result_stream)

    def result_columns(self, columns: Sequence[str], stream: str | None = None) -> DataFrame | None:
        """Read columns of the newest results, or of a certain result stream; None if there are none."""
        return read_columns(self.run, stream or self.result_stream, columns)

    def free_stream(self) -> str:
        """Give a name for further results; see :func:`free_stream`."""
        return free_stream(self.run)
