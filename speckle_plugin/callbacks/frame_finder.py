"""Find the frames that a run's documents speak of.

A :class:`FrameFinder` belongs to one run and sees its documents in order. It answers
each with references to the frames that became available: where the pixels are, which
detector took them, and their running index. It reads no pixels.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote, urlparse

import event_model
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.detectors import Detector, FrameSettings, describe_detector, holds_images

__all__ = ["FrameFinder", "FrameReference"]

DEFAULT_DATASET = "/entry/data/data"
"""Where AreaDetector's HDF5 plugin puts frames, unless the resource says otherwise."""


@dataclass(frozen=True, eq=False)
class FrameReference:
    """One frame, and where to read it: `index` in a file's dataset, or `pixels` at hand."""

    detector: Detector
    frame_index: int
    seq_num: int
    timestamp: float
    path: str = ""
    dataset: str = ""
    index: int = 0
    pixels: NDArray[Any] | None = None


class FrameFinder:
    """Follows the documents of one run.

    Parameters
    ----------
    settings : FrameSettings
    """

    def __init__(self, settings: FrameSettings) -> None:
        self._settings = settings
        self._detectors: dict[str, list[Detector]] = {}
        self._external: dict[str, set[str]] = {}
        self._resources: dict[str, Mapping[str, Any]] = {}
        self._datums: dict[str, Mapping[str, Any]] = {}
        self._next_index: Counter[str] = Counter()

    def __call__(self, name: str, doc: Any) -> Iterator[FrameReference]:
        """Take one document and yield the frames that it makes available."""
        match name:
            case "descriptor":
                self._add_descriptor(doc)
            case "resource" | "stream_resource":
                self._resources[doc["uid"]] = doc
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

    def _add_descriptor(self, doc: Mapping[str, Any]) -> None:
        wanted = self._settings.image_keys
        self._detectors[doc["uid"]] = [
            describe_detector(key, doc, self._settings)
            for key, data_key in doc["data_keys"].items()
            if (wanted is None or key in wanted) and holds_images(data_key)
        ]
        self._external[doc["uid"]] = {k for k, v in doc["data_keys"].items() if "external" in v}

    def _event(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        for detector in self._detectors.get(doc["descriptor"], ()):
            key = detector.image_key
            if key not in doc["data"]:
                continue
            value, timestamp = doc["data"][key], float(doc["timestamps"][key])
            if key not in self._external[doc["descriptor"]] or doc.get("filled", {}).get(key) is True:
                pixels = np.asarray(value)
                for image in pixels.reshape(-1, *pixels.shape[-2:]):
                    yield self._reference(detector, doc["seq_num"], timestamp, pixels=image)
                continue
            datum = self._datums.pop(value, None)
            resource = self._resources.get(datum["resource"]) if datum else None
            kwargs = datum.get("datum_kwargs", {}) if datum else {}
            first = kwargs.get("point_number", 0) * detector.frames_per_event
            path, dataset = _location(resource) if resource else ("", "")
            for index in range(first, first + detector.frames_per_event):
                yield self._reference(detector, doc["seq_num"], timestamp, path, dataset, index)

    def _stream_datum(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        resource = self._resources.get(doc["stream_resource"])
        if resource is None:
            return
        path, dataset = _location(resource)
        for detector in self._detectors.get(doc["descriptor"], ()):
            if detector.image_key != resource["data_key"]:
                continue
            for event in range(doc["indices"]["start"], doc["indices"]["stop"]):
                seq_num = doc["seq_nums"]["start"] + event - doc["indices"]["start"]
                for frame in range(detector.frames_per_event):
                    index = event * detector.frames_per_event + frame
                    # A stream datum carries no time of its own: the latency counts from here.
                    yield self._reference(detector, seq_num, 0.0, path, dataset, index)

    def _reference(
        self,
        detector: Detector,
        seq_num: int,
        timestamp: float,
        path: str = "",
        dataset: str = "",
        index: int = 0,
        pixels: NDArray[Any] | None = None,
    ) -> FrameReference:
        frame_index = self._next_index[detector.image_key]
        self._next_index[detector.image_key] += 1
        return FrameReference(detector, frame_index, seq_num, timestamp, path, dataset, index, pixels)


def _location(resource: Mapping[str, Any]) -> tuple[str, str]:
    """Give file and dataset of a Resource or StreamResource."""
    if "uri" in resource:
        parameters = resource.get("parameters", {})
        path = unquote(urlparse(resource["uri"]).path)
    else:
        parameters = resource.get("resource_kwargs", {})
        path = os.path.join(resource.get("root", ""), resource["resource_path"])
    return path, parameters.get("dataset") or parameters.get("path") or DEFAULT_DATASET
