"""Documents that bluesky_tiled_plugins would refuse or store wrongly, in a form that it stores.

Each mend here is for documents that are valid, or come from devices that many have. The journal keeps
documents as they came, so that a later version may do better.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import event_model

from speckle_plugin.store.write.eiger import EigerSeries

__all__ = ["Storable"]

logger = logging.getLogger(__name__)

Document = tuple[str, dict[str, Any]]

MOST_DATUMS = 10_000
"""Datums that are remembered in case that a second event names them."""


class Storable:
    """Goes over the documents of one run, in order.

    - A Datum that events of several streams name is given again for each: the writer forgets a Datum
      when an event has named it. A second event of the same stream names no new frames.
    - A resource of an Eiger, whose datums name masters, becomes one for each master.
    - The folder of a file for each frame (AreaDetector's modes `Single`) ends in a slash, since the
      writer appends the name of the file to it.
    - Of data keys that differ by case only, the later one is renamed: columns of tables are told apart
      regardless of case. `DET` beside `det` becomes `DET_2`.
    - A leading dimension of 0, as cameras describe that were not told their number of images, becomes 1.
    - Values without any element, of a shape such as (64, 64, 0), are left out.
    - So are references to frames whose data key does not state their shape, such as (None, None): Tiled can't
      hold them. The log says so, and the files stay.
    """

    def __init__(self) -> None:
        self._series = EigerSeries()
        self._datums: OrderedDict[str, dict[str, Any]] = OrderedDict()
        self._named: dict[str, set[str]] = {}
        self._external: dict[str, set[str]] = {}
        self._left_out: dict[str, set[str]] = {}
        self._resource_keys: dict[str, str] = {}
        self._names: dict[str, dict[str, str]] = {}

    def __call__(self, name: str, doc: Any) -> Iterator[Document]:
        """Take a document and yield what is to be stored in its place."""
        match name:
            case "descriptor":
                yield name, self._descriptor(doc)
            case "resource":
                if not self._series.take(doc):
                    yield name, _with_folder(doc)
            case "datum":
                yield from self._datum(doc)
            case "datum_page":
                for datum in event_model.unpack_datum_page(doc):
                    yield from self._datum(datum)
            case "event":
                yield from self._event(doc)
            case "event_page":
                for event in event_model.unpack_event_page(doc):
                    yield from self._event(event)
            case "stream_resource":
                self._resource_keys[doc["uid"]] = doc["data_key"]
                yield name, dict(doc)
            case "stream_datum":
                key = self._resource_keys.get(doc["stream_resource"])
                if key not in self._left_out.get(doc["descriptor"], ()):
                    yield name, dict(doc)
            case _:
                yield name, dict(doc)

    def _datum(self, doc: Mapping[str, Any]) -> Iterator[Document]:
        for name, stored in self._series.datum(doc):
            if name == "datum":
                self._remember(stored)
            yield name, stored

    def _remember(self, datum: Mapping[str, Any]) -> None:
        self._datums[datum["datum_id"]] = dict(datum)
        if len(self._datums) > MOST_DATUMS:
            forgotten, _ = self._datums.popitem(last=False)
            self._named.pop(forgotten, None)

    def _descriptor(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        uid, data_keys = doc["uid"], doc["data_keys"]
        self._external[uid] = {key for key, spec in data_keys.items() if "external" in spec}
        empty = {
            key
            for key, spec in data_keys.items()
            if key not in self._external[uid] and spec["dtype"] == "array" and 0 in (spec.get("shape") or ())
        }
        unsized = {key for key in self._external[uid] if None in (data_keys[key].get("shape") or ())}
        for key in unsized:
            logger.warning(
                "the frames of %s are not saved in Tiled, since their data key states the shape %s: have the "
                "detector state numbers. Their files stay, and all else of the run is saved",
                key,
                data_keys[key]["shape"],
            )
        self._left_out[uid] = empty | unsized
        self._names[uid] = names = _tell_apart(key for key in data_keys if key not in self._external[uid])
        described = {
            names.get(key, key): _of_one_frame(spec) if key in self._external[uid] else spec
            for key, spec in data_keys.items()
            if key not in self._left_out[uid]
        }
        objects = {
            owner: [names.get(key, key) for key in keys if key not in self._left_out[uid]]
            for owner, keys in doc.get("object_keys", {}).items()
        }
        return {**doc, "data_keys": described, **({"object_keys": objects} if "object_keys" in doc else {})}

    def _event(self, doc: Mapping[str, Any]) -> Iterator[Document]:
        uid, filled = doc["descriptor"], doc.get("filled", {})
        left_out = set(self._left_out.get(uid, ()))
        for key in (self._external.get(uid, set()) - left_out) & doc["data"].keys():
            datum_id = doc["data"][key]
            if filled.get(key) is True or not isinstance(datum_id, str):
                continue
            named = self._named.setdefault(datum_id, set())
            if (reference := f"{uid}/{key}") in named:
                left_out.add(key)
            elif named and datum_id in self._datums:
                yield "datum", dict(self._datums[datum_id])
            named.add(reference)
        event = dict(doc)
        names = self._names.get(uid, {})
        if names or left_out:
            for part in ("data", "timestamps", "filled"):
                values = doc.get(part, {}).items()
                event[part] = {names.get(key, key): value for key, value in values if key not in left_out}
        yield "event", event


def _with_folder(resource: Mapping[str, Any]) -> dict[str, Any]:
    """Let the path of a resource end in a slash where its files are named by a template of C."""
    path = resource["resource_path"]
    one_for_each = "%" in (resource.get("resource_kwargs", {}).get("template") or "")
    return {**resource, "resource_path": f"{path}/" if one_for_each and not path.endswith("/") else path}


def _of_one_frame(data_key: Mapping[str, Any]) -> Mapping[str, Any]:
    shape = data_key.get("shape")
    return data_key if not shape or shape[0] != 0 else {**data_key, "shape": [1, *shape[1:]]}


def _tell_apart(keys: Iterator[str]) -> dict[str, str]:
    """Give other names to keys that differ from an earlier one by case only."""
    taken: set[str] = set()
    names: dict[str, str] = {}
    for key in keys:
        name, number = key, 1
        while name.casefold() in taken:
            number += 1
            name = f"{key}_{number}"
        taken.add(name.casefold())
        if name != key:
            names[key] = name
    return names
