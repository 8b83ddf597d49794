"""How the product's pictures look: colours that colour-blind people can tell, scale bars, small files."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from itertools import cycle
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

__all__ = [
    "BLUE",
    "CONFIDENCE_COLORS",
    "DISK_COLORS",
    "FRAME_COLORS",
    "NO_VALUE",
    "ORANGE",
    "k_scale_bar",
    "line_styles",
    "log_norm",
    "mark_beam",
    "round_length",
    "scale_bar",
    "to_png",
    "to_webp",
]

FRAME_COLORS = "magma"
"""Of intensities. These three scales rise in lightness, and are told apart with any kind of colour vision."""

DISK_COLORS = "viridis"
CONFIDENCE_COLORS = "cividis"

NO_VALUE = "0.75"
"""Grey of what was not measured or has no label."""

BLUE, ORANGE = "#0072B2", "#D55E00"
"""Two colours that everybody tells apart, of Okabe and Ito's palette: as expected, and not as expected."""

LINE_COLORS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
"""The palette of Okabe and Ito (https://jfly.uni-koeln.de/color), for lines."""

MARKERS = ("o", "s", "^", "D", "v", "P", "X")


def line_styles() -> Iterator[dict[str, Any]]:
    """Give colour and marker for each line in turn: black and white prints tell them by the marker."""
    for color, marker in cycle(zip(LINE_COLORS, MARKERS, strict=True)):
        yield {"color": color, "marker": marker}


def log_norm(frame: NDArray[Any]) -> LogNorm:
    """Give the logarithmic scale of a frame, from its faint to its bright pixels.

    Parameters
    ----------
    frame : array
        What is not above 0, or not finite, does not count.
    """
    from matplotlib.colors import LogNorm

    values = np.asarray(frame, np.float64)
    positive = values[np.isfinite(values) & (values > 0)]
    if not positive.size:
        return LogNorm(0.1, 1.0)
    low, high = np.percentile(positive, [2, 99.9])
    return LogNorm(float(low), float(max(high, low * 1.001)))


def mark_beam(axes: Axes, beam_center: tuple[float, float]) -> None:
    """Mark where the beam is, (row, column) in pixels, by a cross that is seen on bright and on dark."""
    row, column = beam_center
    for color, width in (("black", 2.6), ("white", 1.2)):
        axes.plot(column, row, "+", color=color, markersize=9, markeredgewidth=width, clip_on=False, zorder=5)


def scale_bar(
    axes: Axes, per_unit: float | None, unit: str = "", prefix: str = "", color: str = "black"
) -> None:
    """Draw a bar of round length in the lower left corner, about a quarter of the axes wide.

    Call it when the limits of the axes are as they stay.

    Parameters
    ----------
    axes : Axes
    per_unit : float or None
        Length that a step of 1 along the columns stands for, such as a k step where it is a pixel. Without
        it there is no bar.
    unit : str
        Of that length.
    prefix : str
        Stands before the length, such as "k = ".
    color : {"black", "white"}
        The outline is of the other one, so that the bar is seen on anything.
    """
    if not per_unit or not math.isfinite(per_unit) or per_unit < 0:
        return
    from matplotlib.patheffects import withStroke

    left, right = axes.get_xlim()
    length = round_length(abs(right - left) * per_unit / 4)
    outline = "white" if color == "black" else "black"
    start, along = left + 0.05 * (right - left), length / per_unit * math.copysign(1.0, right - left)
    across: Any = axes.get_xaxis_transform()
    axes.plot(
        [start, start + along],
        [0.05, 0.05],
        color=color,
        linewidth=2.5,
        transform=across,
        solid_capstyle="butt",
        path_effects=[withStroke(linewidth=4.0, foreground=outline)],
        scalex=False,
        scaley=False,
    )
    axes.text(
        start,
        0.075,
        f"{prefix}{length:g}{f' {unit}' if unit else ''}",
        color=color,
        fontsize=8,
        transform=across,
        path_effects=[withStroke(linewidth=2.0, foreground=outline)],
    )


def k_scale_bar(axes: Axes, k_step: float | None, unit: str = "") -> None:
    """Draw a scale bar on a frame, whose columns are pixels.

    Parameters
    ----------
    axes : Axes
    k_step : float or None
        Wave number per pixel; without it there is no bar.
    unit : str
        Of k; by default that in which the detector states it, and not told.
    """
    scale_bar(axes, k_step, unit, "k = ", "white")


def round_length(length: float) -> float:
    """Give 1, 2 or 5 times a power of ten, not above a length.

    Raises
    ------
    ValueError
        If the length is not positive.
    """
    if not length > 0:
        raise ValueError(f"a scale bar needs a positive length, not {length}")
    power = 10.0 ** math.floor(math.log10(length))
    return next(factor for factor in (5, 2, 1) if factor * power <= length * (1 + 1e-12)) * power


def to_png(figure: Figure, dpi: int = 110, colors: int | None = None) -> bytes:
    """Give a figure as a PNG file.

    Parameters
    ----------
    figure : Figure
    dpi : int
        Points per inch.
    colors : int, optional
        How many colours the file has: with 256 it is much smaller, and looks the same. None for all.
    """
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    if colors is None:
        return drawn.getvalue()
    from PIL import Image

    with Image.open(drawn) as picture:
        reduced = picture.convert("RGB").quantize(colors, kmeans=1, dither=Image.Dither.NONE)
    small = io.BytesIO()
    reduced.save(small, format="png", optimize=True)
    return small.getvalue()


def to_webp(figure: Figure, dpi: int = 90, quality: int = 85) -> bytes:
    """Give a figure as a WebP file, which browsers show: for noisy frames much smaller than PNG.

    Parameters
    ----------
    figure : Figure
    dpi : int
        Points per inch.
    quality : int
        Up to 100.
    """
    from PIL import Image

    drawn, small = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", dpi=dpi)
    with Image.open(drawn) as picture:
        picture.convert("RGB").save(small, format="webp", quality=quality)
    return small.getvalue()
