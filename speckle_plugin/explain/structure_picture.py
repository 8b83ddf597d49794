"""A picture of a solved frame: the sample in real space, the frame, what was calculated, and the residual."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter

from speckle_plugin.explain.style import FRAME_COLORS, NO_VALUE, k_scale_bar, log_norm, scale_bar
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import Structure
from speckle_plugin.structure.matching import aligned

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["draw_sample", "structure_picture"]

CERTIFIED, NOT_CERTIFIED = "#2a6f97", "#b08030"
TRUTH = "#d1495b"

SMOOTHING = 2.0
"""Standard deviation, in pixels, of the mean that residuals are compared with."""


def structure_picture(
    structure: Structure,
    frame: NDArray[Any],
    geometry: FrameGeometry,
    title: str = "",
    unit: str = "",
    truth: ArrayLike | None = None,
    center_half_width: float = 5.0,
) -> Figure:
    """Draw a structure beside the frame that it explains.

    Parameters
    ----------
    structure : Structure
    frame : array, shape (rows, columns)
        The raw frame.
    geometry : FrameGeometry
    title : str
        Stands before the certificate.
    unit : str
        Of lengths; by default the inverse of the unit of k.
    truth : array, shape (n, 3), optional
        x, y, r of the true disks, where they are known. They are shifted and inverted to match, since a
        frame does not tell that.
    center_half_width : float
        Of the blocked centre, which the solver leaves out.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(17, 4.6), layout="constrained")
    # The layout does not know how a panel of fixed shape is moved: a margin keeps its labels in.
    layout: Any = figure.get_layout_engine()
    layout.set(rect=(0.012, 0.0, 0.988, 1.0))
    text = f"{structure.disk_number} disks, {structure.certificate.replace('_', ' ')}: {structure.reason}"
    figure.suptitle(f"{title}: {text}" if title else text, fontsize=12)
    real, measured, calculated, difference = figure.subplots(1, 4, width_ratios=[1.25, 1, 1, 1])
    draw_sample(real, structure, unit, truth)
    known = _known_pixels(frame, geometry, center_half_width)
    shown = np.where(known, frame, np.nan).astype(np.float64)
    norm = log_norm(shown)
    fit = structure.calculated_frame(geometry.shape)
    for axes, values, name in (
        (measured, shown, "frame"),
        (calculated, fit, "calculated from the disks"),
    ):
        image = axes.imshow(np.maximum(values, norm.vmin or 0.1), norm=norm, cmap=FRAME_COLORS)
        axes.set_title(name, fontsize=11)
        axes.set_facecolor(NO_VALUE)
        k_scale_bar(axes, structure.k_step)
    figure.colorbar(image, ax=[measured, calculated], shrink=0.75, label="intensity (units of the frame)")
    # Without disks there is nothing to compare with: all of it is grey.
    residual = _residual(shown, fit, known) if structure.disk_number else np.full(shown.shape, np.nan)
    most = float(np.nanpercentile(np.abs(residual), 99.5)) if np.isfinite(residual).any() else 1.0
    image = difference.imshow(residual, vmin=-(most or 1.0), vmax=most or 1.0, cmap="RdBu_r")
    difference.set_facecolor(NO_VALUE)
    difference.set_title("residual; left out: grey", fontsize=11)
    figure.colorbar(image, ax=difference, shrink=0.75, label="(measured - calculated amplitude) / local mean")
    for axes in (measured, calculated, difference):
        axes.set(xlabel="column (pixels)", ylabel="row (pixels)")
    return figure


def draw_sample(axes: Axes, structure: Structure, unit: str = "", truth: ArrayLike | None = None) -> None:
    """Draw the disks as the frame is drawn: x, which goes with the rows, downwards.

    Parameters
    ----------
    axes : matplotlib.axes.Axes
    structure : Structure
    unit : str
        Of lengths; by default the inverse of the unit of k.
    truth : array, shape (n, 3), optional
        x, y, r of the true disks.
    """
    from matplotlib.patches import Circle

    disks = np.column_stack([structure.x, structure.y, structure.r])
    drawn = disks
    color = CERTIFIED if structure.solved else NOT_CERTIFIED
    if truth is not None:
        true_disks = np.asarray(truth, dtype=np.float64)
        if len(true_disks) == len(disks):
            disks = aligned(disks, true_disks)
            disks = disks[np.argsort(-disks[:, 2], kind="stable")]  # numbered as in the structure
        elif len(disks):
            disks = disks + np.array([*(true_disks.mean(axis=0) - disks.mean(axis=0))[:2], 0.0])
        drawn = np.vstack([disks, true_disks])
        for x, y, r in true_disks:
            axes.add_patch(Circle((y, x), r, fill=False, edgecolor=TRUTH, linestyle="--", linewidth=1.4))
    for number, (x, y, r) in enumerate(disks, start=1):
        axes.add_patch(Circle((y, x), r, facecolor=color, alpha=0.75, edgecolor="none"))
        axes.annotate(str(number), (y + r, x), (2, 0), textcoords="offset points", va="center", fontsize=8)
    title = "sample"
    if truth is not None:
        title += "; dashed: ground truth"
    axes.set_title(title, fontsize=11)
    lengths = unit or "1 / unit of k"
    axes.set(xlabel=f"y, along the columns ({lengths})", ylabel=f"x, along the rows ({lengths})")
    if not len(drawn):
        axes.text(0.5, 0.5, "no disks found", ha="center", va="center", transform=axes.transAxes)
        return
    low = (drawn[:, :2] - drawn[:, 2:]).min(axis=0)
    high = (drawn[:, :2] + drawn[:, 2:]).max(axis=0)
    center, half = (low + high) / 2, 0.56 * float((high - low).max())
    axes.set_xlim(center[1] - half, center[1] + half)
    axes.set_ylim(center[0] + half * 1.15, center[0] - half)
    axes.set_box_aspect(2.15 / 2)  # one length along both axes
    scale_bar(axes, 1.0, unit)


def _known_pixels(
    frame: NDArray[Any], geometry: FrameGeometry, center_half_width: float
) -> NDArray[np.bool_]:
    """Give the pixels that the solver looks at, but for those that are saturated."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(frame) & (frame >= 0)
    return np.asarray(known & geometry.unmasked(center_half_width))


def _residual(
    shown: NDArray[np.float64], fit: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    measured = np.sqrt(np.where(known, shown, 0.0))
    mean = gaussian_filter(np.sqrt(np.maximum(fit, 0.0)), SMOOTHING)
    floor = max(float(mean.max()) * 1e-9, np.finfo(float).tiny)
    residual = (measured - np.sqrt(np.maximum(fit, 0.0))) / np.maximum(mean, floor)
    return np.where(known, residual, np.nan)
