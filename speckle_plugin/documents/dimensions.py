"""Along which data keys a run moves, as its plan says it, and what else is worth a column beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["TIME", "dimension_fields", "hinted_fields"]

TIME = "time"
"""Name of the dimension of a run in which nothing moves."""


def dimension_fields(start: Mapping[str, Any], descriptor: Mapping[str, Any]) -> list[str]:
    """Give the data keys of a run's dimensions, the slowest first; none where nothing moves.

    Parameters
    ----------
    start : mapping
        The start document: its hints, or else its motors.
    descriptor : mapping
        That of the stream of the points, which tells the data keys of a motor that is named by its object;
        may be empty.
    """
    dimensions = (start.get("hints") or {}).get("dimensions")
    if dimensions is None:
        dimensions = [([motor], "primary") for motor in start.get("motors") or ()]
    named = [fields[0] for fields, _ in dimensions if fields]
    return [_field(name, descriptor) for name in named if name != TIME]


def _field(name: str, descriptor: Mapping[str, Any]) -> str:
    if name in descriptor.get("data_keys", {}):
        return name
    hinted = (descriptor.get("hints") or {}).get(name, {}).get("fields")
    fields = hinted or descriptor.get("object_keys", {}).get(name) or [name]
    return str(fields[0])


def hinted_fields(descriptor: Mapping[str, Any]) -> list[str]:
    """Give the numbers that the devices of a stream recommend to show; of a device without hints, all."""
    fields: list[str] = []
    for name, keys in descriptor.get("object_keys", {}).items():
        hinted = (descriptor.get("hints") or {}).get(name, {}).get("fields")
        fields += keys if hinted is None else hinted
    data_keys = descriptor["data_keys"]
    return [f for f in fields if data_keys.get(f, {}).get("dtype") in ("number", "integer")]
