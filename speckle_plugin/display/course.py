"""Against what the results of a run are drawn: a map, points on a plane, a line, or time.

Plans say it in their start document, as bluesky's BestEffortCallback reads it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from speckle_plugin.documents.dimensions import TIME, dimension_fields

__all__ = ["Axis", "Course", "course_of"]


@dataclass(frozen=True)
class Axis:
    """One axis.

    Parameters
    ----------
    field : str
        Data key of the positions; `time` for seconds since the run began.
    label : str
        With the unit.
    low, high : float
        Where the plan goes; NaN if it does not say.
    step : float
        Distance of the points of a grid; 0 if there is none.
    """

    field: str
    label: str
    low: float = math.nan
    high: float = math.nan
    step: float = 0.0


@dataclass(frozen=True)
class Course:
    """What is drawn, and its axes: the fast one of a grid is `x`, the slow one `y`."""

    kind: Literal["map", "points", "line", "time"]
    x: Axis
    y: Axis | None = None


def course_of(start: Mapping[str, Any], descriptor: Mapping[str, Any]) -> Course:
    """Read what a run's documents say of its course.

    Parameters
    ----------
    start : mapping
        The start document.
    descriptor : mapping
        That of the stream of the frames; empty if it is not known.

    Returns
    -------
    Course
        Time, where two axes are not enough, or the documents make no sense.
    """
    try:
        fields = dimension_fields(start, descriptor)
        axes = [_axis(start, descriptor, field, number) for number, field in enumerate(fields)]
    except (TypeError, ValueError, KeyError, IndexError, AttributeError):
        axes = []
    match axes:
        case [x]:
            return Course("line", x)
        case [slow, fast]:
            return Course("map" if slow.step and fast.step else "points", fast, slow)
    return Course("time", Axis(TIME, "time since the start (s)"))


def _axis(start: Mapping[str, Any], descriptor: Mapping[str, Any], field: str, number: int) -> Axis:
    units = descriptor.get("data_keys", {}).get(field, {}).get("units")
    label = f"{field} ({units})" if units else field
    extents, shape = start.get("extents"), start.get("shape")
    gridded = (start.get("hints") or {}).get("gridding") == "rectilinear"
    if extents is None or not gridded:
        return Axis(field, label)
    low, high = sorted(float(end) for end in extents[number])
    step = (high - low) / (shape[number] - 1) if shape and shape[number] > 1 else high - low
    if not all(map(math.isfinite, (low, high, step))):
        return Axis(field, label)
    return Axis(field, label, low, high, step or 1.0)
