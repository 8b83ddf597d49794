"""The end of a run that has none: what a cut-off journal still tells.

Used by `replay` for runs whose process was killed before the stop document.
"""

from __future__ import annotations

import uuid
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import event_model

from speckle_plugin.documents.descriptors import FrameSettings, holds_images
from speckle_plugin.documents.roles import Role
from speckle_plugin.documents.shapes import count_frames
from speckle_plugin.documents.structure_counts import StructureCounts
from speckle_plugin.schema import (
    CLASSIFICATION_STREAM,
    CLASSIFIER,
    NEWEST_STREAM,
    NO_DISK_NUMBER,
    POSSIBLE,
    STRUCTURE_SOLVER,
    STRUCTURE_STREAM,
    STRUCTURE_SUMMARY,
    SUMMARY,
    Flag,
    Status,
    compose_summary,
    image_key_of,
    split_flags,
    split_numbers,
)
from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.write.journal import Document

if TYPE_CHECKING:
    from event_model.documents import EventPage

__all__ = ["RECOVERED", "count_events", "recovered_stop"]

RECOVERED = "recovered from journal"
"""The `reason` in the stop document of a run whose end was never measured."""

_TOLD = {"image_key", "status", "disk_number", "confidence", "flags"}
"""What a summary takes from a result."""


def recovered_stop(documents: list[Document]) -> dict[str, Any]:
    """Compose the stop document of a run that was cut off.

    Parameters
    ----------
    documents : list
        The documents of the run, from its start document on.

    Returns
    -------
    dict
        A stop document with exit status "abort". If the run was being classified, it has
        the summary as well, in which frames without a result count as deferred.

    Raises
    ------
    StorageError
        If an event refers to a descriptor that is not there.
    """
    counts = count_events(documents)
    stop = {
        "uid": str(uuid.uuid4()),
        "run_start": documents[0][1]["uid"],
        "time": max(_time(doc) for _, doc in documents),
        "exit_status": "abort",
        "reason": RECOVERED,
        "num_events": counts,
    }
    # Killed before the first result, a run has none, though it was being classified.
    summary = _summary(documents)
    if CLASSIFICATION_STREAM in counts or summary["frames"]:
        stop[SUMMARY] = summary
    if structures := _structure_summary(documents):
        stop[STRUCTURE_SUMMARY] = structures
    return stop


def count_events(documents: list[Document]) -> dict[str, int]:
    """Give the number of events of each stream, as a stop document has it.

    Raises
    ------
    StorageError
        If an event refers to a descriptor that is not there.
    """
    descriptors = _descriptors(documents)
    counts = dict.fromkeys((doc["name"] for doc in descriptors.values()), 0)
    for name, doc in documents:
        if name in ("event", "event_page", "stream_datum"):
            if doc["descriptor"] not in descriptors:
                raise StorageError(
                    f"{name} {doc['uid']} refers to a descriptor that the journal does not hold"
                )
            stream = descriptors[doc["descriptor"]]["name"]
            counts[stream] = max(counts[stream], _last_seq_num(name, doc))
    return counts


def _descriptors(documents: list[Document]) -> dict[str, dict[str, Any]]:
    return {doc["uid"]: doc for name, doc in documents if name == "descriptor"}


def _last_seq_num(name: str, doc: dict[str, Any]) -> int:
    # Bluesky's num_events is the last sequence number: an event that is taken again after
    # a pause counts once.
    if name == "stream_datum":
        return int(doc["seq_nums"]["stop"]) - 1
    return int(doc["seq_num"] if name == "event" else max(doc["seq_num"], default=0))


def _time(doc: dict[str, Any]) -> float:
    time = doc.get("time", 0.0)
    return float(max(time, default=0.0) if isinstance(time, list) else time)


def _summary(documents: list[Document]) -> dict[str, Any]:
    descriptors = _descriptors(documents)
    results: list[dict[str, Any]] = []
    frames: Counter[str] = Counter()
    model: dict[str, Any] = {}
    key_of = {doc["uid"]: doc["data_key"] for name, doc in documents if name == "stream_resource"}
    for name, doc in documents:
        descriptor = descriptors.get(doc.get("descriptor", ""), {})
        if name == "stream_datum":
            key = key_of[doc["stream_resource"]]
            rows = doc["indices"]["stop"] - doc["indices"]["start"]
            frames[image_key_of(descriptor["name"], key)] += rows * _frames_of_event(descriptor, key)
        for event in _events(name, doc):
            if descriptor["name"] == CLASSIFICATION_STREAM:
                if not _TOLD <= event["data"].keys():
                    continue  # of a row whose writing was cut off, Tiled has the probabilities alone
                results.append(event["data"])
                model = descriptor.get("configuration", {}).get(CLASSIFIER, {}).get("data", {})
            else:
                stream = descriptor["name"]
                frames.update(
                    {image_key_of(stream, key): _frames_of_event(descriptor, key) for key in event["data"]}
                )
    settings = FrameSettings.from_configuration(model)
    # A camera without any result may have been left out by choice, or its first frame still waited.
    keys = {result["image_key"] for result in results} | {
        image_key_of(doc["name"], key)
        for doc in descriptors.values()
        for key, spec in doc["data_keys"].items()
        if holds_images(spec) and settings.role_of(doc["name"], key) is Role.LIGHT
    }
    total = max(sum(frames[key] for key in keys), len(results))
    classified = [result for result in results if result["status"] == Status.CLASSIFIED]
    flagged = sum(result["status"] == Status.FLAGGED for result in results)
    labels: Counter[int] = Counter()
    odd_labels: Counter[int] = Counter()
    possible: Counter[int] = Counter()
    for result in classified:
        if Flag.OUT_OF_DISTRIBUTION in split_flags(result["flags"]):
            odd_labels[result["disk_number"]] += 1
        else:
            labels[result["disk_number"]] += 1
            possible.update(split_numbers(result.get(POSSIBLE, "")))
    return compose_summary(
        labels,
        {
            Status.CLASSIFIED: len(classified),
            Status.FLAGGED: flagged,
            Status.DEFERRED: total - len(classified) - flagged,
        },
        Counter(str(flag) for result in results for flag in split_flags(result["flags"])),
        min((result["confidence"] for result in classified), default=None),
        model,
        odd_labels,
        possible,
    )


def _structure_summary(documents: list[Document]) -> dict[str, Any]:
    """Give the summary of second opinions as far as they were told; the others count nowhere."""
    streams = {uid: doc["name"] for uid, doc in _descriptors(documents).items()}
    if STRUCTURE_STREAM not in streams.values():
        return {}
    labels: dict[tuple[str, int], int] = {}
    counts, asked = StructureCounts(), ""
    rows: dict[tuple[str, int], dict[str, Any]] = {}
    for name, doc in documents:
        if name == "descriptor" and doc["name"] == STRUCTURE_STREAM:
            asked = doc["configuration"][STRUCTURE_SOLVER]["data"]["asked"]
        for event in _events(name, doc):
            data = event["data"]
            stream = streams[event["descriptor"]]
            if stream == CLASSIFICATION_STREAM and data.keys() >= _TOLD:
                labels[data["image_key"], data["frame_index"]] = data["disk_number"]
            elif stream == STRUCTURE_STREAM and "certificate" in data:
                rows[data["image_key"], data["frame_index"]] = data
    for frame, row in rows.items():
        counts.add(row, labels.get(frame, NO_DISK_NUMBER))
    return {**counts.summary(), NEWEST_STREAM: STRUCTURE_STREAM, "asked": asked} if rows else {}


def _events(name: str, doc: dict[str, Any]) -> list[Any]:
    if name == "event_page":
        return list(event_model.unpack_event_page(cast("EventPage", doc)))
    return [doc] if name == "event" else []


def _frames_of_event(descriptor: dict[str, Any], key: str) -> int:
    return count_frames(descriptor["data_keys"][key].get("shape") or ())
