"""Metadata as plain values, which the journal (JSON) and Tiled can both keep."""

from __future__ import annotations

import base64
import datetime
import enum
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

__all__ = ["to_plain"]

LARGEST_NUMBER = 2**53 - 1
"""Tiled cuts integers beyond this off, without a word, and floats of integral value as well; of infinity it
makes the largest number that there is."""


def to_plain(value: Any) -> Any:
    """Give a value made of dict, list, str, int, float, bool and None only.

    Times are in ISO 8601, paths are text, sets are sorted lists, bytes are text if they are UTF-8 and else
    base64, and infinity and integral numbers beyond 2**53, which Tiled would change, are text. What nobody
    foresaw is as `repr` shows it: the run is worth more than its looks.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return to_plain(value.value)
    if isinstance(value, np.ndarray | np.generic):
        return to_plain(value.tolist())
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int | float):
        changed = abs(value) > LARGEST_NUMBER and (value % 1 == 0 or math.isinf(value))
        return str(value) if changed else value
    if isinstance(value, datetime.datetime | datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, os.PathLike):
        return os.fsdecode(value)
    if isinstance(value, bytes | bytearray):
        return _decode(bytes(value))
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(to_plain(key)): to_plain(v) for key, v in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(to_plain, value), key=repr)
    if isinstance(value, Iterable):
        return [to_plain(item) for item in value]
    return repr(value)


def _decode(value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()
