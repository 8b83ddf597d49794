"""Find the frames that a run's documents speak of.

A :class:`FrameFinder` belongs to one run and sees its documents in order. It answers
each with references to the frames that became available: where the pixels are, which
detector took them, and their running index. It reads no pixels.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import event_model
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings, describe_detector
from speckle_plugin.documents.locations import Location, locate
from speckle_plugin.documents.roles import Role, choose_correction
from speckle_plugin.documents.shapes import is_array, why_no_frames
from speckle_plugin.schema import PRIMARY, image_key_of

__all__ = ["CorrectionFrames", "FrameFinder", "FrameReference"]

logger = logging.getLogger(__name__)

MOST_RESOURCES = 10_000
"""Files and Datums that are remembered for frames still to come; beyond that those not spoken of for
longest are forgotten, or a long run with a file for each exposure would fill the memory."""

NOT_CLASSIFIED = {
    Role.DARK: "dark frames are not classified",
    Role.FLAT: "flat fields are not classified",
}


@dataclass(eq=False)
class FrameReference:
    """One frame, and where to read it: `index` in a file's dataset, or `pixels` at hand.

    `timestamp` says when it was taken, as far as documents tell. If its file tells it better, in the
    dataset `timestamps`, one number for each frame, it is set when the frame is read. `darks` and `flats` are
    the newest dark frames and flat fields of the detector, where frames are to be corrected by them.
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
    darks: CorrectionFrames | None = None
    flats: CorrectionFrames | None = None

    def move_to(self, location: Location, index: int) -> None:
        """Say where it is: the frame of an index, counted over all files of a location."""
        self.path, self.index = location.find(index)
        self.dataset, self.timestamps = location.dataset, location.timestamps


@dataclass(eq=False)
class CorrectionFrames:
    """The dark frames, or the flat fields, of one event; their mean is taken."""

    frames: tuple[FrameReference, ...]


class FrameFinder:
    """Follows the documents of one run.

    Parameters
    ----------
    settings : FrameSettings
    clock : callable
        Gives the time in seconds since the epoch.

    Attributes
    ----------
    left_out : dict
        Image key of images that are no frames to classify -> the reason.
    """

    def __init__(self, settings: FrameSettings, clock: Callable[[], float] = time.time) -> None:
        self.left_out: dict[str, str] = {}
        self._settings = settings
        self._clock = clock
        self._detectors: dict[str, list[Detector]] = {}
        self._external: dict[str, set[str]] = {}
        self._resources: OrderedDict[str, Location] = OrderedDict()
        self._datums: OrderedDict[str, Mapping[str, Any]] = OrderedDict()
        self._named: OrderedDict[tuple[str, str], None] = OrderedDict()
        self._late: dict[str, list[list[FrameReference]]] = {}
        self._multipliers: dict[str, int | None] = {}
        self._next_index: Counter[str] = Counter()
        self._correcting: dict[Role, dict[tuple[str, str], CorrectionFrames]] = {
            role: {} for role in settings.corrections
        }

    def __call__(self, name: str, doc: Any) -> Iterator[FrameReference]:
        """Take one document and yield the frames with light that it makes available."""
        for reference in self._find(name, doc):
            if reference.detector.role is Role.LIGHT:
                yield reference

    def _find(self, name: str, doc: Any) -> Iterator[FrameReference]:
        match name:
            case "descriptor":
                self._add_descriptor(doc)
            case "resource" | "stream_resource":
                self._resources[doc["uid"]] = locate(doc)
                _forget_oldest(self._resources)
            case "datum":
                yield from self._add_datum(doc)
            case "datum_page":
                for datum in event_model.unpack_datum_page(doc):
                    yield from self._add_datum(datum)
            case "event":
                yield from self._event(doc)
            case "event_page":
                for event in event_model.unpack_event_page(doc):
                    yield from self._event(event)
            case "stream_datum":
                yield from self._stream_datum(doc)
            case "stop":  # what their Datums did not come for
                for groups in self._late.values():
                    yield from itertools.chain.from_iterable(groups)

    @property
    def remembered(self) -> int:
        """Number of resources, Datums and names of Datums that are kept for frames still to come."""
        return len(self._resources) + len(self._datums) + len(self._named)

    def _add_descriptor(self, doc: Mapping[str, Any]) -> None:
        stream = doc.get("name", PRIMARY)
        detectors = []
        for key, data_key in doc["data_keys"].items():
            role = self._settings.role_of(stream, key)
            if not is_array(data_key) or role is Role.LEFT_OUT:
                continue
            reason = why_no_frames(data_key)
            if not reason:
                detectors.append(describe_detector(key, doc, self._settings, stream))
                if role in NOT_CLASSIFIED:
                    self.left_out[image_key_of(stream, key)] = NOT_CLASSIFIED[role]
            elif image_key_of(stream, key) not in self.left_out:
                self._leave_out(image_key_of(stream, key), reason)
        self._detectors[doc["uid"]] = detectors
        self._external[doc["uid"]] = {k for k, v in doc["data_keys"].items() if "external" in v}

    def _leave_out(self, image_key: str, reason: str) -> None:
        self.left_out[image_key] = reason
        logger.warning("the images of %s are not classified: %s", image_key, reason)

    def _add_datum(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        """Keep a Datum for the events that name it; some may have come before it."""
        self._datums[doc["datum_id"]] = doc
        _forget_oldest(self._datums)
        location, row = self._place(doc) if doc["datum_id"] in self._late else (None, 0)
        for references in self._late.pop(doc["datum_id"], ()):
            for frame, reference in enumerate(references):
                if location is not None:
                    reference.move_to(location, row * len(references) + frame)
                yield reference

    def _find_resource(self, uid: str) -> Location | None:
        if uid in self._resources:
            self._resources.move_to_end(uid)
        return self._resources.get(uid)

    def _event(self, doc: Mapping[str, Any]) -> Iterator[FrameReference]:
        data, filled = doc["data"], doc.get("filled", {})
        external = self._external.get(doc["descriptor"], set())
        for detector in self._detectors.get(doc["descriptor"], ()):
            key = detector.data_key
            if key not in data:
                continue
            seq_num, timestamp = doc["seq_num"], float(doc["timestamps"][key])
            if key in external and filled.get(key) is not True:
                yield from self._external_frames(detector, doc["descriptor"], data[key], seq_num, timestamp)
                continue
            if not self._count_frames(detector, None):
                continue
            pixels = np.asarray(data[key])
            images = pixels.reshape(-1, *pixels.shape[-2:]) if pixels.ndim >= 2 and pixels.size else [pixels]
            references = [self._reference(detector, seq_num, timestamp, pixels=image) for image in images]
            self._keep_correcting(detector, references)
            yield from references

    def _external_frames(
        self, detector: Detector, descriptor: str, datum_id: Any, seq_num: int, timestamp: float
    ) -> Iterator[FrameReference]:
        """Give the frames of an event's Datum; they are held back where it is still to come."""
        named = (descriptor + detector.data_key, str(datum_id))
        if named in self._named:
            return  # a second event of the stream names the same frames: they have their rows
        self._named[named] = None
        _forget_oldest(self._named)
        datum = self._datums.get(datum_id) if isinstance(datum_id, str) else None
        location, row = self._place(datum)
        count = self._count_frames(detector, location)
        references = [
            self._reference(detector, seq_num, timestamp, location, row * count + frame)
            for frame in range(count)
        ]
        self._keep_correcting(detector, references)
        if datum is None and isinstance(datum_id, str):
            self._late.setdefault(datum_id, []).append(references)
        else:
            yield from references

    def _count_frames(self, detector: Detector, location: Location | None) -> int:
        """Give the frames of an event by shape and resource; of one to come, by the resource before it."""
        if location is not None:
            self._multipliers[detector.image_key] = location.multiplier
        count = detector.count_frames(self._multipliers.get(detector.image_key))
        if not count and detector.image_key not in self.left_out:
            self._leave_out(detector.image_key, f"the shape {detector.shape} is that of no frame in an event")
        return count

    def _place(self, datum: Mapping[str, Any] | None) -> tuple[Location | None, int]:
        """Give the file of a datum and its row there; no file if there is none, or it makes no sense.

        The frames count all the same: those after them would else take their place.
        """
        if datum is None:
            return None, 0
        try:
            kwargs = datum.get("datum_kwargs", {})
            location = self._find_resource(datum["resource"])
            return None if location is None else location.of_datum(kwargs), _row_in_file(kwargs)
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
            count = self._count_frames(detector, location)
            for event in range(doc["indices"]["start"], doc["indices"]["stop"]):
                seq_num = doc["seq_nums"]["start"] + event - doc["indices"]["start"]
                references = [
                    self._reference(detector, seq_num, timestamp, location, event * count + frame)
                    for frame in range(count)
                ]
                self._keep_correcting(detector, references)
                yield from references

    def _reference(
        self,
        detector: Detector,
        seq_num: int,
        timestamp: float,
        location: Location | None = None,
        index: int = 0,
        pixels: NDArray[Any] | None = None,
    ) -> FrameReference:
        frame_index = self._next_index[detector.image_key]
        self._next_index[detector.image_key] += 1
        reference = FrameReference(detector, frame_index, seq_num, timestamp, pixels=pixels)
        if detector.role is Role.LIGHT:
            reference.darks = self._newest(Role.DARK, detector)
            reference.flats = self._newest(Role.FLAT, detector)
        if location is not None:
            reference.move_to(location, index)
        return reference

    def _keep_correcting(self, detector: Detector, references: Sequence[FrameReference]) -> None:
        """Keep the newest dark frames and flat fields of a detector, for the frames that come after them."""
        if detector.role in self._correcting:
            newest = CorrectionFrames(tuple(references))
            self._correcting[detector.role][detector.device, detector.data_key] = newest

    def _newest(self, role: Role, detector: Detector) -> CorrectionFrames | None:
        """Give the newest dark frames or flat fields of a detector, where they are asked for."""
        kept = self._correcting.get(role, {})
        chosen = choose_correction(role, detector.device, detector.data_key, kept)
        return None if chosen is None else kept[chosen]


def _forget_oldest(remembered: OrderedDict[Any, Any]) -> None:
    if len(remembered) > MOST_RESOURCES:
        remembered.popitem(last=False)


def _row_in_file(datum_kwargs: Mapping[str, Any]) -> int:
    """Give the row of an event in its file, by the keys that bluesky-tiled-plugins' RunNormalizer reads.

    Without any of them the file is the event's own.
    """
    if indices := datum_kwargs.get("indices"):
        return int(indices["start"])
    for key in ("point_number", "frame", "frame_num"):
        if datum_kwargs.get(key) is not None:
            return int(datum_kwargs[key])
    return 0
