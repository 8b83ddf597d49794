"""Pictures of a classified scan, for people who would rather look than read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.explain.style import (
    BLUE,
    CONFIDENCE_COLORS,
    DISK_COLORS,
    FRAME_COLORS,
    NO_VALUE,
    ORANGE,
    k_scale_bar,
    log_norm,
    mark_beam,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["line_picture", "scan_picture"]


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
    beam_center: tuple[float, float] | None = None,
    k_step: float | None = None,
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
        Names of the two positions, with their unit.
    beam_center : (row, column), optional
        Where the beam is on the frames; marked on the examples.
    k_step : float, optional
        Wave number per pixel; the examples then have a scale bar.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    x, y, found, confidence = (np.asarray(a) for a in (x, y, found, confidence))
    figure = Figure(figsize=(15, 10.5 if examples else 4.5))
    figure.set_layout_engine("constrained", w_pad=0.12)  # the names of bars and axes stay apart
    figure.suptitle(title, fontsize=14)
    parts = figure.subfigures(
        2 if examples else 1, 1, squeeze=False, height_ratios=[1.3, 1] if examples else [1]
    )
    if examples:
        _draw_examples(parts[0, 0], examples, beam_center, k_step)
    panels = parts[-1, 0].subplots(1, 2 if truth is None else 4)
    maps: list[tuple[str, NDArray[Any]]] = [("classified", found)]
    if truth is not None:
        maps.insert(0, ("truth", np.asarray(truth)))
    for axes, (name, numbers) in zip(panels, maps, strict=False):
        drawn = _draw_map(
            axes, x, y, np.where(numbers > 0, numbers, np.nan), (min(classes), max(classes)), DISK_COLORS
        )
        axes.set(title=f"disk number, {name}", xlabel=axis_labels[0], ylabel=axis_labels[1])
        _bar_beside(axes, drawn, "disks in the beam")
    axes = panels[len(maps)]
    drawn = _draw_map(axes, x, y, np.where(found > 0, confidence, np.nan), (0.0, 1.0), CONFIDENCE_COLORS)
    axes.set(title="confidence", xlabel=axis_labels[0], ylabel=axis_labels[1])
    _bar_beside(axes, drawn, "probability of the label")
    if truth is not None:
        _draw_confusion(panels[-1], np.asarray(truth), found, classes)
    return figure


def line_picture(
    position: ArrayLike,
    found: ArrayLike,
    confidence: ArrayLike,
    truth: ArrayLike | None = None,
    title: str = "",
    axis_label: str = "position",
) -> Figure:
    """Draw labels and confidence against one position, or against time.

    Parameters
    ----------
    position : array, shape (N,)
        Of each frame.
    found : array of int, shape (N,)
        Disk number of each frame; 0 where there is no label.
    confidence : array, shape (N,)
    truth : array of int, shape (N,), optional
        True disk numbers, drawn as a line.
    title : str
    axis_label : str
        Name of the position, with its unit.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    position, found, confidence = (np.asarray(a) for a in (position, found, confidence))
    order = np.argsort(position, kind="stable")
    labelled = found > 0
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    figure.suptitle(title, fontsize=14)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    if truth is not None:
        upper.plot(position[order], np.asarray(truth)[order], color="0.6", linewidth=3, label="truth")
    upper.plot(position[labelled], found[labelled], "o", color=BLUE, markersize=5, label="classified")
    for axes, level in ((upper, float(found[labelled].min(initial=1)) - 0.6), (lower, 0.0)):
        axes.plot(position[~labelled], np.full((~labelled).sum(), level), "x", color=ORANGE, label="no label")
        axes.grid(alpha=0.3)
    lower.plot(position[labelled], confidence[labelled], "o", color=BLUE, markersize=4)
    upper.set_ylabel("disk number")
    upper.yaxis.set_major_locator(MaxNLocator(integer=True))
    shown = [truth is not None, bool(labelled.any()), bool((~labelled).any())]
    handles, names = upper.get_legend_handles_labels()
    kept = [i for i, name in enumerate(names) if shown[("truth", "classified", "no label").index(name)]]
    upper.legend([handles[i] for i in kept], [names[i] for i in kept], loc="best")
    lower.set(ylabel="confidence", xlabel=axis_label, ylim=(-0.05, 1.05))
    return figure


def _draw_examples(
    part: Any,
    examples: Sequence[tuple[str, NDArray[Any], NDArray[Any]]],
    beam_center: tuple[float, float] | None,
    k_step: float | None,
) -> None:
    rows = part.subplots(2, len(examples), squeeze=False)
    norm = log_norm(np.concatenate([np.ravel(frame) for _, frame, _ in examples]))
    for column, (label, frame, view) in enumerate(examples):
        shown = rows[0, column].imshow(np.maximum(frame, norm.vmin or 0.1), norm=norm, cmap=FRAME_COLORS)
        rows[0, column].set_title(label, fontsize=10)
        if beam_center is not None:
            mark_beam(rows[0, column], beam_center)
        k_scale_bar(rows[0, column], k_step)
        rows[1, column].imshow(view, vmin=-2.5, vmax=2.5, cmap="gray")
        for axes in rows[:, column]:
            axes.set(xticks=[], yticks=[])
    part.colorbar(shown, ax=list(rows[0]), shrink=0.85, label="intensity (units of the frame)")
    seen = rows[1, -1].images[0]
    part.colorbar(seen, ax=list(rows[1]), shrink=0.85, label="network input (standardized)")
    rows[0, 0].set_ylabel("frame; + the beam" if beam_center is not None else "frame")
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
    axes.set_facecolor(NO_VALUE)
    columns, rows = np.unique(x.round(6)), np.unique(y.round(6))
    if columns.size > 1 and rows.size > 1 and columns.size * rows.size == x.size:
        tiles = np.full((rows.size, columns.size), np.nan)
        tiles[np.searchsorted(rows, y.round(6)), np.searchsorted(columns, x.round(6))] = values
        return axes.pcolormesh(
            columns, rows, tiles, vmin=limits[0], vmax=limits[1], cmap=colors, shading="nearest"
        )
    return axes.scatter(x, y, c=values, vmin=limits[0], vmax=limits[1], cmap=colors, s=60)


def _bar_beside(axes: Axes, drawn: Any, label: str) -> None:
    """Draw a bar of colours as high as the map, whose aspect is that of the sample."""
    axes.figure.colorbar(drawn, cax=axes.inset_axes((1.04, 0.0, 0.06, 1.0)), label=label)


def _draw_confusion(axes: Axes, truth: NDArray[Any], found: NDArray[Any], classes: Sequence[int]) -> None:
    counts = np.zeros((len(classes), len(classes)), int)
    index = {n: i for i, n in enumerate(classes)}
    for t, f in zip(truth, found, strict=True):
        if t in index and f in index:
            counts[index[t], index[f]] += 1
    axes.imshow(np.where(counts, counts, np.nan), cmap="Blues", vmin=0, origin="lower")
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = ORANGE if i != j else "white" if counts[i, j] > counts.max() / 2 else "black"
        weight = "bold" if i != j else "normal"
        axes.text(
            j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color=color, fontweight=weight
        )
    ticks = range(0, len(classes), 3)
    axes.set(title="frames by truth and label", xlabel="disk number, classified", ylabel="disk number, truth")
    axes.set_xticks(ticks, [str(classes[i]) for i in ticks])
    axes.set_yticks(ticks, [str(classes[i]) for i in ticks])
