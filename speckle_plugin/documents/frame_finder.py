"""Find the frames that a run's documents speak of.

A :class:`FrameFinder` belongs to one run and sees its documents in order. It answers
each with references to the frames that became available: where the pixels are, which
detector took them, and their running index. It reads no pixels.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlparse

import event_model
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings, describe_detector, holds_images
from speckle_plugin.schema import PRIMARY

__all__ = ["FrameFinder", "FrameReference"]

logger = logging.getLogger(__name__)

DEFAULT_DATASET = "/entry/data/data"
"""Where AreaDetector's HDF5 plugin puts frames, unless the resource says otherwise."""

MOST_RESOURCES = 10_000
"""Files that are remembered for frames still to come; beyond that those not spoken of for longest are
forgotten, or a long run with a file for each exposure would fill the memory."""


@dataclass(eq=False)
class FrameReference:
    """One frame, and where to read it: `index` in a file's dataset, or `pixels` at hand.

    `timestamp` says when it was taken, as far as documents tell. If its file tells it better, in the
    dataset `timestamps`, one number for each frame, it is set when the frame is read.
    """

    detector: Detector
    frame_index: int
    seq_num: int
    timestamp: float
    path: str = ""
    dataset: str = ""
    index: int = 0
    pixels: NDArray[Any] | None = None
    timestamps: str = ""


@dataclass(frozen=True)
class _Location:
    """Where a Resource or StreamResource says that frames are."""

    data_key: str
    path: str
    dataset: str
    timestamps: str


class FrameFinder:
    """Follows the documents of one run.

    Parameters
    ----------
    settings : FrameSettings
    clock : callable
        Gives the time in seconds since the epoch.
    """

    def __init__(self, settings: FrameSettings, clock: Callable[[], float] = time.time) -> None:
        self._settings = settings
        self._clock = clock
        self._detectors: dict[str, list[Detector]] = {}
        self._external: dict[str, set[str]] = {}
        self._resources: OrderedDict[str, _Location] = OrderedDict()
        self._datums: dict[str, Mapping[str, Any]] = {}
        self._next_index: Counter[str] = Counter()

    def __call__(self, name: str, doc: Any) -> Iterator[FrameReference]:
        """Take one document and yield the frames that it makes available."""
        match name:
            case "descriptor":
                self._add_descriptor(doc)
            case "resource" | "stream_resource":
                self._resources[doc["uid"]] = _locate(doc)
                if len(self._resources) > MOST_RESOURCES:
                    self._resources.popitem(last=False)
            case "datum":
                self._datums[doc["datum_id"]] = doc
            case "datum_page":
                for datum in event_model.unpack_datum_page(doc):
                    self._datums[datum["datum_id"]] = datum
            case "event":
                yield from self._event(doc)
            case "event_page":
                for event in event_model.unpack_event_page(doc):
                    yield from self._event(event)
            case "stream_datum":
                yield from self._stream_datum(doc)

    @property
    def remembered(self) -> int:
        """Number of resources and datums that are kept for frames still to come."""
        return len(self._resources) + len(self._datums)

    def _add_descriptor(self, doc: Mapping[str, Any]) -> None:
        wanted = self._settings.image_keys
        self._detectors[doc["uid"]] = [
            describe_detector(key, doc, self._settings, doc.get("name", PRIMARY))
            for key, data_key in doc["data_keys"].items()
            if (wanted is None or key in wanted) and holds_images(data_key)
        ]
        self._external[doc["uid"]] = {k for k, v in doc["data_keys"].items() if "external" in v}

    def _find_resource(self, uid: str) -> _Location | None:
        if uid in self._resources:
            self._resources.move_to_end(uid)
        return self._resources.get(uid)

    def _event(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        data, filled = doc["data"], doc.get("filled", {})
        external = self._external.get(doc["descriptor"], set()) & data.keys()
        external -= {key for key in external if filled.get(key) is True}
        # Also those of keys that hold no frames, which else would stay forever.
        datums = {key: self._datums.pop(data[key], None) for key in external if isinstance(data[key], str)}
        for detector in self._detectors.get(doc["descriptor"], ()):
            key = detector.data_key
            if key not in data:
                continue
            seq_num, timestamp = doc["seq_num"], float(doc["timestamps"][key])
            if key not in external:
                pixels = np.asarray(data[key])
                for image in pixels.reshape(-1, *pixels.shape[-2:]):
                    yield self._reference(detector, seq_num, timestamp, pixels=image)
                continue
            location, first = self._place(datums.get(key), detector)
            for index in range(first, first + detector.frames_per_event):
                yield self._reference(detector, seq_num, timestamp, location, index)

    def _place(self, datum: Mapping[str, Any] | None, detector: Detector) -> tuple[_Location | None, int]:
        """Give the file of a datum and the index of its first frame; no file if the datum makes no sense.

        The frame counts all the same: those after it would else take its place.
        """
        if datum is None:
            return None, 0
        try:
            row = _row_in_file(datum.get("datum_kwargs", {}))
            return self._find_resource(datum["resource"]), row * detector.frames_per_event
        except Exception:
            logger.exception("the datum %s can't be read: its frames are flagged as unreadable", datum)
            return None, 0

    def _stream_datum(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        location = self._find_resource(doc["stream_resource"])
        if location is None:
            return
        # A stream datum carries no time: unless its file does, a frame is as old as the news of it.
        timestamp = self._clock()
        for detector in self._detectors.get(doc["descriptor"], ()):
            if detector.data_key != location.data_key:
                continue
            for event in range(doc["indices"]["start"], doc["indices"]["stop"]):
                seq_num = doc["seq_nums"]["start"] + event - doc["indices"]["start"]
                for frame in range(detector.frames_per_event):
                    index = event * detector.frames_per_event + frame
                    yield self._reference(detector, seq_num, timestamp, location, index)

    def _reference(
        self,
        detector: Detector,
        seq_num: int,
        timestamp: float,
        location: _Location | None = None,
        index: int = 0,
        pixels: NDArray[Any] | None = None,
    ) -> FrameReference:
        frame_index = self._next_index[detector.image_key]
        self._next_index[detector.image_key] += 1
        path, dataset, times = (
            (location.path, location.dataset, location.timestamps) if location else ("",) * 3
        )
        return FrameReference(
            detector, frame_index, seq_num, timestamp, path, dataset, index, pixels, timestamps=times
        )


def _row_in_file(datum_kwargs: Mapping[str, Any]) -> int:
    """Give the row of an event in its file, by the keys that bluesky-tiled-plugins' RunNormalizer reads.

    Without any of them the file is the event's own.
    """
    if indices := datum_kwargs.get("indices"):
        return int(indices["start"])
    for key in ("point_number", "frame"):
        if datum_kwargs.get(key) is not None:
            return int(datum_kwargs[key])
    return 0


def _locate(resource: Mapping[str, Any]) -> _Location:
    """Read file and datasets of a Resource or StreamResource."""
    if "uri" in resource:
        parameters = resource.get("parameters", {})
        path = unquote(urlparse(resource["uri"]).path)
    else:
        parameters = resource.get("resource_kwargs", {})
        path = os.path.join(resource.get("root", ""), resource["resource_path"])
    dataset = parameters.get("dataset") or parameters.get("path") or DEFAULT_DATASET
    return _Location(resource.get("data_key", ""), path, dataset, parameters.get("timestamps") or "")
