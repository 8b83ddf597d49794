"""The newest frame on a logarithmic scale, and what the network says of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm

from speckle_plugin.display.view import Picture
from speckle_plugin.explain.style import BLUE, FRAME_COLORS, NO_VALUE, ORANGE, k_scale_bar, log_norm
from speckle_plugin.schema import Status

__all__ = ["FramePanel", "ProbabilityPanel", "name_result"]

PREDICTED_COLOR, OTHER_COLOR = ORANGE, BLUE


def name_result(picture: Picture) -> str:
    """Say in a few words what became of a frame."""
    flags = picture.flags.replace("_", " ").replace(",", ", ")
    if picture.status == Status.CLASSIFIED:
        return f"{picture.disk_number} disks, {picture.confidence:.1%}" + (f"; {flags}" if flags else "")
    return f"{picture.status}{f': {flags}' if flags else ''}, no label"


class FramePanel:
    """Draws the newest frame with masked pixels grey and the beam centre.

    Parameters
    ----------
    axes : Axes
        To draw in.
    """

    def __init__(self, axes: Axes) -> None:
        self._axes = axes
        self._image: Any = None
        self._bar: Any = None
        self._shape: tuple[int, ...] = ()
        self._beam: list[Any] = []
        axes.set(title="no frame yet", xticks=[], yticks=[])

    def draw(self, picture: Picture) -> None:
        """Show a frame."""
        shape = (*picture.pixels.shape, picture.step)
        if self._image is None or shape != self._shape:
            self._begin(picture)
            self._shape = shape
        norm = log_norm(picture.pixels)
        low, high = float(norm.vmin or 0.1), float(norm.vmax or 1.0)
        self._image.set_data(np.maximum(picture.pixels, low))  # NaN stays NaN
        self._image.set_clim(low, high)
        self._bar.update_normal(self._image)
        center = picture.center
        for cross in self._beam:
            cross.set_data(([], []) if center is None else ([center[1]], [center[0]]))
        place = "" if center is not None else " (beam centre not known)"
        which = f"{picture.image_key}, frame {picture.frame_index}{place}"
        self._axes.set_title(f"{which}\n{name_result(picture)}", fontsize=10)

    def _begin(self, picture: Picture) -> None:
        axes, step = self._axes, picture.step
        rows, columns = picture.pixels.shape
        axes.clear()
        colors = colormaps[FRAME_COLORS].with_extremes(bad=NO_VALUE)
        edges = (-0.5, columns * step - 0.5, rows * step - 0.5, -0.5)
        image = axes.imshow(
            np.ones((rows, columns), np.float32),
            norm=LogNorm(0.5, 2.0),
            cmap=colors,
            extent=edges,
            interpolation="nearest",
        )
        figure = axes.get_figure()
        if self._bar is None and figure is not None:  # another would make the frame smaller
            self._bar = figure.colorbar(
                image, ax=axes, location="bottom", shrink=0.8, aspect=30, label="intensity (grey: masked)"
            )
        self._image = image
        self._beam = [
            axes.plot([], [], "+", color=color, markersize=12, markeredgewidth=width)[0]
            for color, width in (("black", 3.0), ("white", 1.4))
        ]
        axes.set(xlim=edges[:2], ylim=edges[2:])
        thinned = f"; every {step}th is drawn" if step > 1 else ""
        axes.set(xlabel=f"column (pixels{thinned})", ylabel="row (pixels)")
        k_scale_bar(axes, picture.k_step)


class ProbabilityPanel:
    """Draws the probability of each disk number for the newest frame.

    Parameters
    ----------
    axes : Axes
        To draw in.
    classes : sequence of int
        Disk numbers that the network tells apart.
    """

    def __init__(self, axes: Axes, classes: Sequence[int]) -> None:
        self._classes = list(classes)
        self._bars = list(axes.bar(self._classes, [0.0] * len(self._classes), color=OTHER_COLOR))
        axes.set(ylim=(0, 1.02), xlabel="disk number", ylabel="probability")
        if self._classes:
            axes.set_xticks(self._classes)
            axes.set_xlim(min(self._classes) - 0.7, max(self._classes) + 0.7)
        axes.set_title("what the network says of this frame", fontsize=10)
        self._remark = axes.text(
            0.5, 0.5, "", transform=axes.transAxes, ha="center", va="center", color=PREDICTED_COLOR
        )

    def draw(self, picture: Picture) -> None:
        """Show the probabilities of a frame; without a label there are none."""
        known = picture.status == Status.CLASSIFIED and len(picture.probabilities) == len(self._bars)
        self._remark.set_text("" if known else name_result(picture))
        heights = picture.probabilities if known else np.zeros(len(self._bars))
        for number, bar, height in zip(self._classes, self._bars, heights, strict=True):
            bar.set_height(float(height))
            bar.set_color(PREDICTED_COLOR if known and number == picture.disk_number else OTHER_COLOR)
