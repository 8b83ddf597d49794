"""The picture of a beam centre: a frame, itself turned by half a turn about the centre, and what differs."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from speckle_plugin.explain.style import FRAME_COLORS, NO_VALUE
from speckle_plugin.frames.center import BeamCenter, turned_frame

__all__ = ["center_picture"]

NEAR = 24
"""Pixels on each side of the beam in the pictures that show its surroundings."""


def center_picture(
    frame: NDArray[Any], center: BeamCenter, mask: NDArray[np.bool_] | None = None, title: str = ""
) -> Figure:
    """Draw a frame with its centre, and its surroundings beside those of the turned frame.

    Where the centre is right, the second and the third picture are alike.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    center : BeamCenter
    mask : array of bool, shape (rows, columns), optional
        True where a pixel was left out; drawn grey.
    title : str
    """
    left_out = np.zeros(frame.shape, bool) if mask is None else mask
    counts = np.where(left_out, np.nan, np.maximum(frame.astype(float), 0.0))
    turned = turned_frame(counts, (center.row, center.column))
    floor = max(float(np.nanmedian(counts)) * 0.1, float(np.nanmin(counts[counts > 0])))
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    figure.suptitle(
        f"{f'{title}: ' if title else ''}beam at row {center.row:.2f}, column {center.column:.2f} "
        f"(± {center.uncertainty:.2f} pixels), symmetry {center.symmetry:.2f} of 1"
    )
    axes = figure.subplots(1, 3)
    limits = np.log10([floor, max(float(np.nanmax(counts)), 10 * floor)])
    near = (
        (center.column - NEAR, center.column + NEAR),
        (center.row + NEAR, center.row - NEAR),
    )
    pictures = (
        ("frame", counts, None),
        ("around the beam", counts, near),
        ("the same, turned by half a turn about it", turned, near),
    )
    for axis, (name, values, around) in zip(axes, pictures, strict=True):
        image = axis.imshow(np.log10(values + floor), vmin=limits[0], vmax=limits[1], cmap=FRAME_COLORS)
        axis.set_facecolor(NO_VALUE)
        for color, width in (("black", 1.8), ("white", 0.8)):  # seen on bright and on dark
            axis.axhline(center.row, color=color, linewidth=width)
            axis.axvline(center.column, color=color, linewidth=width)
        axis.set(title=name, xlabel="column (pixels)", ylabel="row (pixels)")
        if around is not None:
            axis.set(xlim=around[0], ylim=around[1])
    figure.colorbar(image, ax=axes, label="log10 of the intensity (units of the frame)", shrink=0.8)
    return figure
