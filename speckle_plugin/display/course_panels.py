"""Disk number and confidence of all frames against position or time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from speckle_plugin.display.course import Axis, Course
from speckle_plugin.display.view import Point
from speckle_plugin.explain.style import BLUE, CONFIDENCE_COLORS, DISK_COLORS, ORANGE
from speckle_plugin.schema import Status

__all__ = ["CoursePanel"]

POINT_COLOR, UNLABELLED_COLOR = BLUE, ORANGE

MOST_CELLS = 1000
"""Rows and columns of a map at most: positions that leave the plan's grid by far are drawn as points."""


class CoursePanel:
    """Draws one value of the frames: tiles on a grid, points on a plane, or points along a line.

    Parameters
    ----------
    axes : Axes
        To draw in.
    course : Course
    name : {"disk number", "confidence"}
    limits : (low, high)
        Of the value.
    """

    def __init__(self, axes: Axes, course: Course, name: str, limits: tuple[float, float]) -> None:
        self._axes, self._course, self._limits = axes, course, limits
        self._colors = DISK_COLORS if name == "disk number" else CONFIDENCE_COLORS
        self._labels = name == "disk number"
        self._drawn: Any = None
        self._bar: Any = None
        axes.set_title(f"{name} ({'x: no label' if course.y else 'x at the bottom: no label'})", fontsize=10)
        axes.set_xlabel(course.x.label)
        if course.y is None:
            low, high = limits
            axes.set_ylabel(name)
            self._floor = low - (high - low) * 0.06
            axes.set_ylim(low - (high - low) * 0.1, high + (high - low) * 0.05)
            axes.grid(alpha=0.3)
            (self._drawn,) = axes.plot([], [], "o", color=POINT_COLOR, markersize=4)
            (self._unlabelled,) = axes.plot([], [], "x", color=UNLABELLED_COLOR, markersize=6)
            if self._labels:
                axes.yaxis.set_major_locator(MaxNLocator(integer=True))
            return
        axes.set_ylabel(course.y.label)
        axes.set_aspect("equal" if _alike(course) else "auto", adjustable="box")
        (self._unlabelled,) = axes.plot([], [], "x", color=UNLABELLED_COLOR, markersize=6, zorder=3)

    def draw(self, points: list[Point]) -> None:
        """Show the frames so far."""
        labelled = np.array([point.status == Status.CLASSIFIED for point in points], bool)
        x = np.array([point.x for point in points], float)
        values = np.array([p.disk_number if self._labels else p.confidence for p in points], float)
        if self._course.y is None:
            self._drawn.set_data(x[labelled], values[labelled])
            self._unlabelled.set_data(x[~labelled], np.full((~labelled).sum(), self._floor))
            self._limit_line(x)
            return
        y = np.array([point.y for point in points], float)
        there = np.isfinite(x) & np.isfinite(y)
        self._unlabelled.set_data(x[~labelled & there], y[~labelled & there])
        values[~labelled] = np.nan
        x, y, values = x[there], y[there], values[there]
        if not x.size:
            return
        tiles = _tiles(self._course, x, y, values) if self._course.kind == "map" else None
        if self._drawn is not None:
            self._drawn.remove()
        low, high = self._limits
        if tiles is None:
            self._drawn = self._axes.scatter(
                x, y, c=values, vmin=low, vmax=high, cmap=self._colors, s=30, plotnonfinite=False
            )
        else:
            cells, extent = tiles
            self._drawn = self._axes.imshow(
                cells, vmin=low, vmax=high, cmap=self._colors, extent=extent, origin="lower",
                interpolation="nearest", aspect=self._axes.get_aspect(),
            )  # fmt: skip
        self._limit_plane(x, y)
        if self._bar is None:
            figure = self._axes.get_figure()
            if figure is not None:
                self._bar = figure.colorbar(self._drawn, ax=self._axes, shrink=0.8)
                if self._labels:
                    self._bar.ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        else:
            self._bar.update_normal(self._drawn)

    def _limit_line(self, x: NDArray[np.float64]) -> None:
        low, high = _range(self._course.x, x)
        margin = (high - low) * 0.03 or 0.5
        self._axes.set_xlim(low - margin, high + margin)

    def _limit_plane(self, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
        both = ((self._course.x, x, self._axes.set_xlim), (self._course.y, y, self._axes.set_ylim))
        for axis, values, set_limits in both:
            if axis is None:
                continue
            low, high = _range(axis, values)
            margin = axis.step / 2 or (high - low) * 0.03 or 0.5
            set_limits(low - margin, high + margin)


def _alike(course: Course) -> bool:
    """Tell whether both axes are of one scale, as those of a sample's plane: then it is drawn undistorted."""
    if course.y is None:
        return False
    x, y = (axis.high - axis.low for axis in (course.x, course.y))
    return bool(np.isfinite([x, y]).all() and min(x, y) > 0 and 1 / 3 < x / y < 3)


def _range(axis: Axis, values: NDArray[np.float64]) -> tuple[float, float]:
    """Give the extent of the plan, or that of the values where these are elsewhere.

    A relative scan states its extent from where it begins.
    """
    finite = values[np.isfinite(values)]
    if not finite.size:
        return (axis.low, axis.high) if np.isfinite([axis.low, axis.high]).all() else (0.0, 1.0)
    low, high = float(finite.min()), float(finite.max())
    if axis.low - axis.step <= low and high <= axis.high + axis.step:  # False where the plan says nothing
        return axis.low, axis.high
    return low, high


def _tiles(
    course: Course, x: NDArray[np.float64], y: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], tuple[float, float, float, float]] | None:
    """Put values on the plan's grid, the newest of a place over older ones; None if there is none."""
    if course.y is None:
        return None
    steps = course.x.step, course.y.step
    columns, rows = (
        np.round((places - places[0]) / step).astype(int) for places, step in zip((x, y), steps, strict=True)
    )
    first_column, first_row = columns.min(), rows.min()
    shape = (rows.max() - first_row + 1, columns.max() - first_column + 1)
    if max(shape) > MOST_CELLS:
        return None
    cells = np.full(shape, np.nan)
    cells[rows - first_row, columns - first_column] = values
    left = x[0] + (first_column - 0.5) * steps[0]
    bottom = y[0] + (first_row - 0.5) * steps[1]
    return cells, (left, left + shape[1] * steps[0], bottom, bottom + shape[0] * steps[1])
