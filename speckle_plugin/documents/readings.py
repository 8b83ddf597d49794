"""What was read beside the frames of a run, kept until their results have come.

A result names its frame's event by stream and `seq_num`. Displays want to know where the motors were then.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import event_model

from speckle_plugin.documents.descriptors import holds_images
from speckle_plugin.schema import PRIMARY, split_image_key

__all__ = ["Readings"]

MOST_EVENTS = 10_000
"""Events that are kept for results still to come; beyond that the oldest are forgotten."""


class Readings:
    """Keeps the events of one run's streams that hold frames.

    Results come in order, so that what lies before one of them is not needed again.
    """

    def __init__(self) -> None:
        self._streams: dict[str, str] = {}
        self._events: dict[str, OrderedDict[int, Mapping[str, Any]]] = {}

    def add(self, name: str, doc: Any) -> None:
        """Take a document; those that say nothing of frames are left alone."""
        if name == "descriptor":
            if any(map(holds_images, doc["data_keys"].values())):
                self._streams[doc["uid"]] = doc.get("name", PRIMARY)
        elif name == "event":
            self._keep([doc])
        elif name == "event_page" and doc["descriptor"] in self._streams:
            self._keep(event_model.unpack_event_page(doc))

    def _keep(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            stream = self._streams.get(event["descriptor"])
            if stream is None:
                continue
            kept = self._events.setdefault(stream, OrderedDict())
            kept[event["seq_num"]] = event["data"]
            if len(kept) > MOST_EVENTS:
                kept.popitem(last=False)

    def find(self, image_key: str, seq_num: int) -> Mapping[str, Any]:
        """Give what was read in the event of a frame; nothing if that is not known.

        Parameters
        ----------
        image_key : str
            As in results, with the stream if that is not `primary`.
        seq_num : int
            Of the event.
        """
        kept = self._events.get(split_image_key(image_key)[0] or PRIMARY)
        if kept is None:
            return {}
        for before in [number for number in kept if number < seq_num]:
            del kept[before]
        return kept.get(seq_num, {})
