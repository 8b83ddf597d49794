"""How the frames of a run are laid out on the page: a map, a line, or in the order of time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

__all__ = ["Layout", "layout_of", "step_of"]

Kind = Literal["map", "line", "time"]


@dataclass(frozen=True)
class Layout:
    """Axes of the frames of a run.

    Parameters
    ----------
    kind : {"map", "line", "time"}
        Two positions, one position, or none.
    x, y : str
        Columns of the table of frames; without a second position `y` is empty.
    x_label, y_label : str
        Names with units.
    step : (float, float)
        Distance of neighbours along each axis, in the axis's unit; the size of a tile of a map.
    """

    kind: Kind
    x: str
    y: str = ""
    x_label: str = ""
    y_label: str = ""
    step: tuple[float, float] = (1.0, 1.0)


def layout_of(
    start: Mapping[str, Any], positions: list[str], units: Mapping[str, str], table: DataFrame
) -> Layout:
    """Choose a layout.

    Parameters
    ----------
    start : mapping
        The start document.
    positions : list of str
        Columns of the moved motors, the slowest first; empty where nothing was moved.
    units : mapping of column to unit
    table : DataFrame
        The frames so far.
    """
    named = [key for key in positions if key in table and np.isfinite(table[key].to_numpy(float)).any()]

    def label(key: str) -> str:
        return f"{key} ({units[key]})" if units.get(key) else key

    if len(named) >= 2:
        y, x = named[-2:]  # the fast one along x, as scans are drawn
        steps = (step_of(table[x].to_numpy(float)), step_of(table[y].to_numpy(float)))
        steps = _by_extents(start, steps)
        return Layout("map", x, y, label(x), label(y), steps)
    if len(named) == 1:
        return Layout("line", named[0], "", label(named[0]))
    return Layout("time", "time", "", "time of day")


def _by_extents(start: Mapping[str, Any], steps: tuple[float, float]) -> tuple[float, float]:
    """Take the steps of a grid from the plan, where it states them: the first row of a map has none yet."""
    try:
        (*_, slow, fast), (*_, rows, columns) = start["extents"], start["shape"]
        stated = [abs(high - low) / (n - 1) for (low, high), n in ((fast, columns), (slow, rows)) if n > 1]
        if len(stated) == 2 and all(step > 0 for step in stated):
            return float(stated[0]), float(stated[1])
    except (KeyError, TypeError, ValueError):
        pass
    return steps


def step_of(values: NDArray[np.float64]) -> float:
    """Give the usual distance of neighbouring positions; 1 where all are alike."""
    known = values[np.isfinite(values)]
    if not known.size or np.ptp(known) == 0:
        return 1.0
    gaps = np.diff(np.unique(np.round(known / np.ptp(known), 4)))
    return float(np.median(gaps) * np.ptp(known))
