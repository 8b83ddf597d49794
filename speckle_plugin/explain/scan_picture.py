"""Pictures of a classified scan, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["scan_picture"]

DISK_COLORS = "viridis"
FRAME_COLORS = "magma"


def scan_picture(
    x: ArrayLike,
    y: ArrayLike,
    found: ArrayLike,
    confidence: ArrayLike,
    truth: ArrayLike | None = None,
    examples: Sequence[tuple[str, NDArray[Any], NDArray[Any]]] = (),
    classes: Sequence[int] = tuple(range(2, 21)),
    title: str = "",
    axis_labels: tuple[str, str] = ("x", "y"),
) -> Figure:
    """Draw a classified scan over a sample.

    Parameters
    ----------
    x, y : array, shape (N,)
        Position of each frame on the sample.
    found : array of int, shape (N,)
        Disk number of each frame; 0 where there is no label.
    confidence : array, shape (N,)
    truth : array of int, shape (N,), optional
        True disk numbers; adds their map and the confusion matrix.
    examples : sequence of (label, frame, network input)
        Frames to show above, each with the view that the network sees.
    classes : sequence of int
        Disk numbers of the color scale and the confusion matrix.
    title : str
    axis_labels : tuple of str
        Names of the two positions.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    x, y, found, confidence = (np.asarray(a) for a in (x, y, found, confidence))
    figure = Figure(figsize=(15, 10.5 if examples else 6.5), layout="constrained")
    figure.suptitle(title, fontsize=14)
    parts = figure.subfigures(
        2 if examples else 1, 1, squeeze=False, height_ratios=[1.3, 1] if examples else [1]
    )
    if examples:
        _draw_examples(parts[0, 0], examples)
    panels = parts[-1, 0].subplots(1, 2 if truth is None else 4)
    maps: list[tuple[str, NDArray[Any]]] = [("classified", found)]
    if truth is not None:
        maps.insert(0, ("truth", np.asarray(truth)))
    for axes, (name, numbers) in zip(panels, maps, strict=False):
        drawn = _draw_map(
            axes, x, y, np.where(numbers > 0, numbers, np.nan), (min(classes), max(classes)), DISK_COLORS
        )
        axes.set(title=f"disk number, {name}", xlabel=axis_labels[0], ylabel=axis_labels[1])
        parts[-1, 0].colorbar(drawn, ax=axes, shrink=0.8)
    axes = panels[len(maps)]
    drawn = _draw_map(axes, x, y, np.where(found > 0, confidence, np.nan), (0.0, 1.0), "cividis")
    axes.set(title="confidence", xlabel=axis_labels[0], ylabel=axis_labels[1])
    parts[-1, 0].colorbar(drawn, ax=axes, shrink=0.8)
    if truth is not None:
        _draw_confusion(panels[-1], np.asarray(truth), found, classes)
    return figure


def _draw_examples(part: Any, examples: Sequence[tuple[str, NDArray[Any], NDArray[Any]]]) -> None:
    from matplotlib.colors import LogNorm

    rows = part.subplots(2, len(examples), squeeze=False)
    for column, (label, frame, view) in enumerate(examples):
        positive = frame[frame > 0]
        low, high = np.percentile(positive, [2, 99.9]) if positive.size else (0.1, 1.0)
        norm = LogNorm(low, max(high, low * 1.001))
        rows[0, column].imshow(np.maximum(frame, low), norm=norm, cmap=FRAME_COLORS)
        rows[0, column].set_title(label, fontsize=10)
        rows[1, column].imshow(view, vmin=-2.5, vmax=2.5, cmap="gray")
        for axes in rows[:, column]:
            axes.set(xticks=[], yticks=[])
    rows[0, 0].set_ylabel("frame (log scale)")
    rows[1, 0].set_ylabel("what the network sees")


def _draw_map(
    axes: Axes,
    x: NDArray[Any],
    y: NDArray[Any],
    values: NDArray[Any],
    limits: tuple[float, float],
    colors: str,
) -> Any:
    """Draw tiles where the positions make a grid, else points."""
    axes.set_aspect("equal", adjustable="box")
    columns, rows = np.unique(x.round(6)), np.unique(y.round(6))
    if columns.size > 1 and rows.size > 1 and columns.size * rows.size == x.size:
        tiles = np.full((rows.size, columns.size), np.nan)
        tiles[np.searchsorted(rows, y.round(6)), np.searchsorted(columns, x.round(6))] = values
        return axes.pcolormesh(
            columns, rows, tiles, vmin=limits[0], vmax=limits[1], cmap=colors, shading="nearest"
        )
    return axes.scatter(x, y, c=values, vmin=limits[0], vmax=limits[1], cmap=colors, s=60)


def _draw_confusion(axes: Axes, truth: NDArray[Any], found: NDArray[Any], classes: Sequence[int]) -> None:
    counts = np.zeros((len(classes), len(classes)), int)
    index = {n: i for i, n in enumerate(classes)}
    for t, f in zip(truth, found, strict=True):
        if t in index and f in index:
            counts[index[t], index[f]] += 1
    axes.imshow(np.where(counts, counts, np.nan), cmap="Blues", vmin=0, origin="lower")
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "red" if i != j else "white" if counts[i, j] > counts.max() / 2 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=6, color=color)
    ticks = range(0, len(classes), 3)
    axes.set(title="confusion matrix", xlabel="classified", ylabel="truth")
    axes.set_xticks(ticks, [str(classes[i]) for i in ticks])
    axes.set_yticks(ticks, [str(classes[i]) for i in ticks])
