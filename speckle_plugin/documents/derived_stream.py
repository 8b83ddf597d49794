"""The documents of a stream that is computed from frames: its descriptor, and an event for each frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import event_model

__all__ = ["DerivedStream"]


class DerivedStream:
    """Composes the documents of one derived stream of one run; the descriptor at once.

    Parameters
    ----------
    start : mapping
        The run's start document.
    emit : callable
        Given (name, document) in the order in which they are to be delivered.
    stream : str
        Name of the stream.
    computer : str
        Name of the object that computed it, under which its configuration stands.
    data_keys : mapping
        Of the events.
    configuration, configuration_keys : mapping
        How it was computed, and the data keys of that.
    hints : sequence of str
        Keys that are worth showing.
    clock : callable
        Gives the time in seconds since the epoch.
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        emit: Callable[[str, Any], None],
        *,
        stream: str,
        computer: str,
        data_keys: Mapping[str, Any],
        configuration: Mapping[str, Any],
        configuration_keys: Mapping[str, Any],
        hints: list[str],
        clock: Callable[[], float],
    ) -> None:
        self._emit = emit
        now = clock()
        # event_model's TypedDicts are narrower than what its own validators accept.
        documents: dict[str, Any] = {
            "start": start,
            "data_keys": dict(data_keys),
            "object_keys": {computer: list(data_keys)},
            "hints": {computer: {"fields": hints}},
            "configuration": {
                computer: {
                    "data": dict(configuration),
                    "timestamps": dict.fromkeys(configuration, now),
                    "data_keys": dict(configuration_keys),
                }
            },
        }
        composed = event_model.compose_descriptor(
            streams={}, event_counters={}, name=stream, time=now, **documents
        )
        self._compose_event: Callable[..., Any] = composed.compose_event
        emit("descriptor", composed.descriptor_doc)

    def add(self, data: Mapping[str, Any], when: float) -> None:
        """Emit a row, made at a time in seconds since the epoch."""
        timestamps = dict.fromkeys(data, when)
        self._emit("event", self._compose_event(data=data, timestamps=timestamps, time=when, validate=False))
