"""The paper's figures, drawn anew from simulated frames."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from simulated_devices import DISK_NUMBERS, DiskSystem, Family, draw_system, intensity, quadrant
from simulated_devices.grids import BOX_LENGTH
from speckle_plugin.explain.style import FRAME_COLORS, k_scale_bar, scale_bar
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare
from training.evaluation.baselines import FIRST_MOMENTS, first_moment
from training.frames import balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "confusion_picture", "first_moment_picture", "first_moments", "systems_picture"]

SHOWN_DISK_NUMBERS = (2, 3, 6, 10, 15, 20)
"""Those of the paper's figure 2."""

SHOWN_PREPROCESSING = Preprocessing(crop=129, intensity="patterson")
FRAMES_PER_NUMBER = 10
"""As many as the paper's figure 6 shows."""


def systems_picture(
    family: Family | str = Family.MONO,
    disk_numbers: Sequence[int] = SHOWN_DISK_NUMBERS,
    seed: int = 0,
    report: Report | None = None,
) -> Figure:
    """Draw systems of disks: in real space, in k space, and as the network sees them (figure 2).

    Parameters
    ----------
    family : Family or str
    disk_numbers : sequence of int
        One column each.
    seed : int
    report : callable, optional
        Told of the progress.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.colors import LogNorm
    from matplotlib.figure import Figure

    grid = quadrant()
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    figure = Figure(figsize=(2.4 * len(disk_numbers) + 0.6, 7.8), layout="constrained")
    panels = figure.subplots(3, len(disk_numbers), squeeze=False)
    for column, disk_number in enumerate(disk_numbers):
        system = draw_system(family, disk_number, np.random.default_rng([seed, disk_number]))
        frame = intensity(system, grid)
        view = prepare(frame, SHOWN_PREPROCESSING, geometry)[0, 0]
        real, reciprocal, seen = panels[:, column]
        _draw_disks(real, system)
        real.set_title(f"{disk_number} disks")
        norm = LogNorm(frame.max() * 1e-7, frame.max(), clip=True)
        reciprocal.imshow(frame, norm=norm, cmap=FRAME_COLORS, origin="lower")
        seen.imshow(view, vmin=-2.5, vmax=2.5, cmap="gray", origin="lower")
        k_scale_bar(reciprocal, grid.pitch)
        for axes in (real, reciprocal, seen):
            axes.set(xticks=[], yticks=[])
        scale_bar(real, 1.0)
        if report:
            report("figure 2", column + 1, len(disk_numbers), {})
    for axes, name in zip(
        panels[:, 0],
        ("real space", "k space (log scale)", "Patterson map (network input)"),
        strict=True,
    ):
        axes.set_ylabel(name)
    figure.suptitle(f"{Family(family).value}: disks, their speckle patterns, and the map of their distances")
    return figure


def first_moments(
    family: Family | str,
    disk_numbers: Sequence[int] = DISK_NUMBERS,
    per_number: int = FRAMES_PER_NUMBER,
    seed: int = 0,
    size: int = 513,
    report: Report | None = None,
) -> NDArray[np.float64]:
    """Compute first moments of simulated frames on the published grid.

    Returns
    -------
    array, shape (4, disk numbers, per_number), float64
        In pixels, for each of :data:`training.evaluation.baselines.FIRST_MOMENTS`.
    """
    recipe = FrameRecipe(
        families=(Family(family).value,), grid="published", size=size, disk_numbers=tuple(disk_numbers)
    )
    moments = []
    total = len(disk_numbers) * per_number
    for drawn in balanced_set(recipe, per_number, seed, "first moment"):
        moments.append([first_moment(drawn.frame, drawn.geometry, d) for d in FIRST_MOMENTS])
        if report:
            report(f"figure 6, {Family(family).value}", len(moments), total, {})
    return np.array(moments).T.reshape(len(FIRST_MOMENTS), len(disk_numbers), per_number)


def first_moment_picture(
    family: Family | str,
    disk_numbers: Sequence[int] = DISK_NUMBERS,
    per_number: int = FRAMES_PER_NUMBER,
    seed: int = 0,
    size: int = 513,
    report: Report | None = None,
) -> Figure:
    """Draw the first moment against the disk number, in all four definitions (figure 6).

    The upper row shows mean and standard deviation over the frames, the lower one every frame.

    Parameters
    ----------
    family : Family or str
    disk_numbers : sequence of int
    per_number, seed : int
        Frames of each disk number.
    size : int
        Of the published grid.
    report : callable, optional
        Told of the progress.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    moments = first_moments(family, disk_numbers, per_number, seed, size, report)
    numbers = np.asarray(disk_numbers)
    figure = Figure(figsize=(15, 7), layout="constrained")
    panels = figure.subplots(2, len(FIRST_MOMENTS), sharex=True, sharey="col")
    for (upper, lower), definition, values in zip(panels.T, FIRST_MOMENTS, moments, strict=True):
        upper.errorbar(numbers, values.mean(axis=1), values.std(axis=1), fmt="o", markersize=4, capsize=3)
        lower.plot(np.repeat(numbers, per_number), values.ravel(), ".", markersize=4, alpha=0.6)
        upper.set_title(definition.name, fontsize=10)
        lower.set_xlabel("disk number")
        lower.set_xticks(numbers[:: max(1, len(numbers) // 6)])
    panels[0, 0].set_ylabel("first moment (pixels), mean and deviation")
    panels[1, 0].set_ylabel("first moment (pixels), every frame")
    figure.suptitle(
        f"{Family(family).value}: first moment of the intensity, {per_number} frames for each disk number, "
        f"published grid {size} x {size}"
    )
    return figure


def confusion_picture(matrix: ArrayLike, classes: Sequence[int], title: str = "") -> Figure:
    """Draw a confusion matrix (figures 3 to 5).

    Parameters
    ----------
    matrix : array of int, shape (classes, classes)
        Frames of each true disk number (rows) by the one found (columns).
    classes : sequence of int
        Disk numbers, in the matrix's order.
    title : str

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ValueError
        If the matrix does not have a row and a column for each class.
    """
    from matplotlib.figure import Figure

    counts = np.asarray(matrix)
    if counts.shape != (len(classes), len(classes)):
        raise ValueError(
            f"the confusion matrix has the shape {counts.shape}; expected {(len(classes), len(classes))}, "
            "a row and a column for each class"
        )
    figure = Figure(figsize=(9.5, 8), layout="constrained")
    axes = figure.subplots()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = axes.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0, origin="lower")
    figure.colorbar(drawn, ax=axes, shrink=0.8, label="share of the frames of this true disk number")
    for i, j in zip(*np.nonzero(counts), strict=True):
        color = "white" if shares[i, j] > 0.5 else "black"
        axes.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=8, color=color)
    names = [str(n) for n in classes]
    axes.set_xticks(range(len(classes)), names)
    axes.set_yticks(range(len(classes)), names)
    axes.set(title=title, xlabel="disk number found", ylabel="true disk number")
    return figure


def _draw_disks(axes: Axes, system: DiskSystem) -> None:
    """Draw the box as the frame is drawn: position component 0, that of the rows, goes up."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Circle

    circles = [Circle((y, x), r) for (x, y), r in zip(system.positions, system.radii, strict=True)]
    axes.add_collection(PatchCollection(circles, facecolor="black"))
    axes.set(xlim=(0.0, BOX_LENGTH), ylim=(0.0, BOX_LENGTH), aspect="equal")


def _figures() -> dict[str, Callable[..., Any]]:
    made: dict[str, Callable[..., Any]] = {"figure2": systems_picture}
    for family in (Family.MONO, Family.POLY, Family.CONSTANT_RADIUS):
        made[f"figure6_{family.value}"] = functools.partial(first_moment_picture, family)
    return made


FIGURES = _figures()
"""Each figure's function by its name, which is that of its file: called with `seed` and `report`."""
