"""The one reader of stored runs: what is in a run, whichever version of this package stored it.

Queries, reprocessing, explanations, pictures, retraining and the command line read runs by a
:class:`StoredRun`, so that they agree on what an image is, which frames there are and which results hold.
Everything is read when it is asked for, and kept: make a new one to see how a run has grown.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.descriptors import FrameSettings, holds_images
from speckle_plugin.documents.roles import Role
from speckle_plugin.schema import (
    PRIMARY,
    STATED_BY_FILES,
    STRUCTURE_STREAM,
    STRUCTURE_SUMMARY,
    SUMMARY,
    image_key_of,
    newest_stream,
    newest_structure_stream,
    split_image_key,
    structure_keys,
)
from speckle_plugin.store.read.events import ReadColumns, StreamEvents, read_columns
from speckle_plugin.store.read.images import StoredImages
from speckle_plugin.store.read.results import StoredResults, read_array_row, read_model, read_results
from speckle_plugin.store.read.structures import StoredStructures, read_structures, structure_streams

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun
    from pandas import DataFrame

__all__ = ["StoredRun"]


class StoredRun:
    """A run of a Tiled catalog.

    Parameters
    ----------
    run : BlueskyRun
    read : callable
        What reads columns of tables; who follows a run that grows gives one that keeps them.

    Attributes
    ----------
    uid : str
    start : mapping
        The start document.
    stop : mapping or None
        The stop document; None while the run is open, or if its process was killed.
    summary : mapping
        The summary of the newest results; empty without any.
    result_stream : str
        Name of the newest result stream, which the summary is of; until then that of live results.
    structure_summary : mapping
        The summary of the newest second opinions; empty without any.
    structure_stream : str
        Name of their stream; of an open run that of live ones.

    Examples
    --------
    >>> stored = StoredRun(catalog[-1])
    >>> {key: len(images) for key, images in stored.images.items()}
    {'det_image': 25}
    >>> first, = stored.images["det_image"].read([0])
    """

    def __init__(self, run: BlueskyRun, read: ReadColumns = read_columns) -> None:
        self.run = run
        self._read = read
        self.start: Mapping[str, Any] = run.start
        self.uid = str(self.start["uid"])
        self.stop: Mapping[str, Any] | None = run.metadata.get("stop")
        self.summary: Mapping[str, Any] = (self.stop or {}).get(SUMMARY) or {}
        self.result_stream = newest_stream(self.stop)
        self.structure_summary: Mapping[str, Any] = (self.stop or {}).get(STRUCTURE_SUMMARY) or {}
        self.structure_stream = newest_structure_stream(self.stop) or STRUCTURE_STREAM

    # Frames

    @cached_property
    def streams(self) -> dict[str, StreamEvents]:
        """The events of all streams, results too."""
        nodes = self.run.base.items()
        return {name: StreamEvents(self.run, name, node.metadata, self._read) for name, node in nodes}

    @cached_property
    def images(self) -> dict[str, StoredImages]:
        """The frames of all streams by their image key, classified or not."""
        every = [
            self._images_of(events, key)
            for events in self.streams.values()
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
        if image_key in self.__dict__.get("images", {}):  # read already
            return self.images[image_key]
        stated, data_key = split_image_key(image_key)
        # Older versions name no stream. The most likely one first: listing the others is one more request.
        others = (name for name in self.run.base if name != PRIMARY)
        for stream in [stated] if stated else itertools.chain([PRIMARY], others):
            events = self.events(stream)
            if events is not None and data_key in events.data_keys:
                return self._images_of(events, data_key)
        raise ValueError(f"no stream of the run {self.uid} has the image key {image_key!r}")

    def _images_of(self, events: StreamEvents, data_key: str) -> StoredImages:
        # Where no frame has a label yet, nobody has asked the files; older versions never did.
        asked = STATED_BY_FILES in self.summary or self.summary.get("classified")
        stated = self.summary.get(STATED_BY_FILES, {}).get(image_key_of(events.stream, data_key), {})
        return StoredImages(events, data_key, stated if asked else None)

    def choose_images(self, image_key: str | None) -> StoredImages:
        """Give the frames of an image key; without one, the only frames with light that the run has.

        Raises
        ------
        ValueError
            If the run has no such key, or several and none is given.
        """
        images = self.images
        if image_key is None:
            light = [found for found in images.values() if self._is_light(found)]
            if len(light) == 1:
                return light[0]
        if image_key in images:
            return images[image_key]
        if not images:
            raise ValueError(f"the run {self.uid} holds no frames")
        asked = "several image keys" if image_key is None else f"no image key {image_key!r}"
        raise ValueError(
            f"the run {self.uid} has {asked}: choose by `image_key` among {', '.join(sorted(images))}"
        )

    def _is_light(self, images: StoredImages) -> bool:
        return self.settings.role_of(images.stream, images.data_key) not in (Role.DARK, Role.FLAT)

    def events(self, stream: str) -> StreamEvents | None:
        """Give the events of a stream; None if the run has no such stream."""
        try:
            return StreamEvents(self.run, stream, self.run.base[stream].metadata, self._read)
        except KeyError:
            return None

    # Results

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
        return self._read(self.run, stream or self.result_stream, columns)

    def probabilities(self, image_key: str, frame_index: int) -> list[float] | None:
        """Read the probabilities of one frame in the newest results, by class; None without a row of it."""
        return self._array_row(self.result_stream, "probabilities", image_key, frame_index)

    # Second opinions

    @cached_property
    def structures(self) -> StoredStructures:
        """The newest second opinions, whole."""
        return read_structures(self.run, self.structure_stream)

    @cached_property
    def all_structures(self) -> list[StoredStructures]:
        """All second opinions, the oldest first, also those of a stream that was not finished."""
        return [read_structures(self.run, stream) for stream in structure_streams(self.run)]

    def structure_columns(self, columns: Sequence[str]) -> DataFrame | None:
        """Read columns of the newest second opinions; None if there are none."""
        return self._read(self.run, self.structure_stream, columns)

    def structure_row(self, image_key: str, frame_index: int) -> dict[str, Any] | None:
        """Read the newest second opinion on one frame, whole; None if there is none."""
        keys = list(structure_keys(1))
        table = self.structure_columns([key for key in keys if key != "disks"])
        disks = self._array_row(self.structure_stream, "disks", image_key, frame_index)
        if table is None or disks is None:
            return None
        of_frame = (table["image_key"] == image_key) & (table["frame_index"] == frame_index)
        return {**table[of_frame].iloc[-1].to_dict(), "disks": disks}

    def _array_row(self, stream: str, array: str, image_key: str, frame_index: int) -> list[Any] | None:
        table = self._read(self.run, stream, ["seq_num", "image_key", "frame_index", array])
        if table is None:
            return None
        of_frame = (table["image_key"] == image_key) & (table["frame_index"] == frame_index)
        rows = table[of_frame].to_dict("records")
        return read_array_row(self.run, stream, array, rows[-1]) if rows else None
