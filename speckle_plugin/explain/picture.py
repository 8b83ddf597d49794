"""A picture of what the network looks at: the frame, its pixels that count, the network's input."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from speckle_plugin.explain.style import FRAME_COLORS, NO_VALUE, k_scale_bar, log_norm, mark_beam
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, map_spacing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from speckle_plugin.explain.saliency import Explanation

__all__ = ["explanation_picture", "frame_picture", "strength_of"]

SMOOTHING = 2.0
"""Standard deviation, in pixels, by which the absolute saliency is smoothed for the eye."""

HIGHEST_PERCENTILE = 99.5
"""Values above this percentile have the strongest color."""

OVERLAY_COLORS = "inferno"


def explanation_picture(
    explanation: Explanation,
    frame: NDArray[Any],
    settings: Preprocessing,
    geometry: FrameGeometry,
    k_step: float | None = None,
    title: str = "",
) -> Figure:
    """Draw an explanation.

    The upper row shows the frame on a logarithmic scale, and over it the absolute saliency, smoothed; below
    is a row for each view, the network's input and Grad-CAM over it.

    Parameters
    ----------
    explanation : Explanation
    frame : array, shape (rows, columns)
        The raw frame explained.
    settings : Preprocessing
        Those of the explained network.
    geometry : FrameGeometry
    k_step : float, optional
        Wave number per pixel of the detector; with it the axes of a Patterson map are distances.
    title : str
        Stands before the disk number and its probability.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    views = len(explanation.inputs)
    figure = Figure(figsize=(12, 5 * (1 + views)), layout="constrained")
    figure.suptitle(_title(explanation, title), fontsize=13)
    panels = figure.subplots(1 + views, 2, squeeze=False)
    background = _logarithm(frame)
    shown = _draw(panels[0, 0], background, colors=FRAME_COLORS, title="frame; + the beam")
    figure.colorbar(shown, ax=panels[0, 0], shrink=0.8, label="log10 of the intensity (units of the frame)")
    mark_beam(panels[0, 0], geometry.beam_center)
    k_scale_bar(panels[0, 0], k_step)
    strength = strength_of(explanation.saliency)
    shown = _draw(panels[0, 1], background, strength, title="saliency: which pixels count")
    figure.colorbar(
        shown, ax=panels[0, 1], shrink=0.8, label="|change of the score / relative change|, smoothed"
    )
    for axes in panels[0]:
        axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
    extent, axis_names = _input_axes(explanation.inputs.shape[1:], settings, geometry, k_step)
    name = f"masked, standardized ({settings.intensity})"
    if settings.intensity == "patterson":
        name = "Patterson map" + (", below it the radial image" if settings.radial_rows else "")
        name += " and moments" if settings.moments > 1 else ""
    for number, row in enumerate(panels[1:]):
        view, cam = explanation.inputs[number], explanation.grad_cam[number]
        which = f", view {number + 1} of {views}" if views > 1 else ""
        shown = _draw(row[0], view, extent=extent, title=f"network input{which}: {name}")
        figure.colorbar(shown, ax=row[0], shrink=0.8, label="value (standardized)")
        shown = _draw(row[1], view, cam, extent=extent, title=f"Grad-CAM{which}: where the features are")
        figure.colorbar(shown, ax=row[1], shrink=0.8, label="part of the score")
        for axes in row:
            axes.set(xlabel=axis_names[1], ylabel=axis_names[0])
            _mark_radial_image(axes, settings, view.shape[0])
    return figure


def strength_of(saliency: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give the absolute saliency, smoothed for the eye, of the frame's shape."""
    smoothed: NDArray[np.float32] = gaussian_filter(np.abs(saliency), SMOOTHING)
    return smoothed


def frame_picture(
    frame: NDArray[Any],
    saliency: NDArray[np.float32] | None = None,
    beam_center: tuple[float, float] | None = None,
    k_step: float | None = None,
    mask: NDArray[np.bool_] | None = None,
) -> Figure:
    """Draw a frame on a logarithmic scale, and beside it, where it is known, which of its pixels count.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    saliency : array, shape (rows, columns), optional
        Of an :class:`~speckle_plugin.explain.saliency.Explanation`.
    beam_center : (row, column), optional
    k_step : float, optional
        Wave number per pixel.
    mask : array of bool, shape (rows, columns), optional
        True where a pixel is left out; drawn grey.
    """
    from matplotlib.figure import Figure

    panels = 1 if saliency is None else 2
    figure = Figure(figsize=(4.6 * panels, 3.9), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    norm = log_norm(frame)
    values = np.maximum(np.nan_to_num(np.asarray(frame, np.float64)), norm.vmin or 0.1)
    shown = axes[0].imshow(
        values if mask is None else np.where(mask, np.nan, values), norm=norm, cmap=FRAME_COLORS
    )
    axes[0].set_facecolor(NO_VALUE)
    axes[0].set_title("frame" if beam_center is None else "frame; + the beam", fontsize=10)
    figure.colorbar(shown, ax=axes[0], shrink=0.85, label="intensity (units of the frame)")
    if beam_center is not None:
        mark_beam(axes[0], beam_center)
    k_scale_bar(axes[0], k_step)
    if saliency is not None:
        strength = strength_of(saliency)
        shown = _draw(axes[1], _logarithm(frame), strength, title="saliency: which pixels count")
        axes[1].title.set_fontsize(10)
        figure.colorbar(shown, ax=axes[1], shrink=0.85, label="change of the score / relative change")
    for panel in axes:
        panel.set(xlabel="column (pixels)", ylabel="row (pixels)")
    return figure


def _title(explanation: Explanation, title: str) -> str:
    result = explanation.result
    text = f"{explanation.disk_number} disks, probability {explanation.probability:.1%}"
    if explanation.disk_number != result.disk_number:
        text += f" (classified {result.disk_number}, {result.confidence:.1%})"
    if result.flags:
        text += f"; {', '.join(result.flags)}"
    return f"{title}: {text}" if title else text


def _logarithm(frame: NDArray[Any]) -> NDArray[np.float64]:
    """Give the logarithm of a frame to base 10; what is not above 0, or not finite, is as the faintest."""
    values = np.asarray(frame, np.float64)
    good = np.isfinite(values) & (values > 0)
    low, high = np.percentile(values[good], [2, 99.9]) if good.any() else (1.0, 1.0)
    return np.log10(np.clip(np.where(good, values, low), low, high))


def _input_axes(
    shape: tuple[int, ...], settings: Preprocessing, geometry: FrameGeometry, k_step: float | None
) -> tuple[tuple[float, float, float, float], tuple[str, str]]:
    """Give the extent of the input for `imshow`, and the names of rows and columns."""
    spacing = (1.0, 1.0)
    names = "row from the beam (pixels)", "column from the beam (pixels)"
    if settings.intensity == "patterson":
        names = "row of the map", "column of the map"
        if k_step:
            spacing = map_spacing(settings, geometry, k_step)
            names = (
                "distance between disks, rows (1 / unit of k)",
                "distance between disks, columns (1 / unit of k)",
            )
    (low, high), (left, right) = ((-0.5 * d, (n - 0.5) * d) for n, d in zip(shape, spacing, strict=True))
    return (left, right, high, low), names


def _mark_radial_image(axes: Axes, settings: Preprocessing, rows: int) -> None:
    """Part the radial image from the map above it, whose axis ends there."""
    if settings.intensity != "patterson" or not settings.radial_rows:
        return
    low, high = sorted(axes.get_ylim())
    border = low + (high - low) * (rows - settings.radial_rows) / rows
    axes.axhline(border, color="white", linewidth=1.0)
    axes.set_yticks([tick for tick in axes.get_yticks() if 0 <= tick <= border])


def _draw(
    axes: Axes,
    background: NDArray[Any],
    overlay: NDArray[Any] | None = None,
    *,
    title: str,
    colors: str = "gray",
    extent: tuple[float, float, float, float] | None = None,
) -> Any:
    """Draw a background and, the more opaque the larger its values, an overlay."""
    low, high = np.percentile(background, [1, HIGHEST_PERCENTILE])
    shown = axes.imshow(background, vmin=low, vmax=high, cmap=colors, extent=extent)
    axes.set_title(title, fontsize=11)
    if overlay is None:
        return shown
    strongest = float(np.percentile(overlay, HIGHEST_PERCENTILE)) or float(overlay.max()) or 1.0
    opacity = np.clip(overlay / strongest, 0.0, 1.0) ** 0.5 * 0.85
    return axes.imshow(overlay, vmin=0.0, vmax=strongest, cmap=OVERLAY_COLORS, alpha=opacity, extent=extent)
