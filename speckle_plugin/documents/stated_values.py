"""Values that a detector's configuration attributes state, as documents hold them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

__all__ = ["center_by_names", "number", "stated_value"]


def stated_value(configuration: Mapping[str, Any], name: str, suffix: str) -> Any:
    """Give what stands under `det_beam_center` (ophyd), or under `det-beam_center` (ophyd-async)."""
    stated = configuration.get(f"{name}{suffix}")
    return configuration.get(f"{name}-{suffix.removeprefix('_')}") if stated is None else stated


def center_by_names(configuration: Mapping[str, Any], names: tuple[str, str]) -> tuple[float, float] | None:
    """Give row and column of the beam from two configuration attributes; None where one states no number."""
    values = []
    for pattern in names:
        found = [value for key, value in sorted(configuration.items()) if fnmatchcase(key, pattern)]
        if not found or not isinstance(found[0], int | float | np.number) or not np.isfinite(found[0]):
            return None
        values.append(float(found[0]))
    return values[0], values[1]


def number(stated: Any) -> float | None:
    """Give a number that a detector states; text, arrays and 0 count as not stated."""
    try:
        return float(stated) or None
    except (TypeError, ValueError):
        return None
