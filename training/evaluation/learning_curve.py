"""How many frames does it take? Accuracy against training frames, of networks that were trained.

Of networks that saw different numbers of frames, or of one while it is trained, epoch by epoch.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speckle_plugin.explain.style import line_styles
from speckle_plugin.network import Bundle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurvePoint", "EpochPoint", "curve_picture", "curve_points", "epoch_picture", "epoch_points"]


@dataclass(frozen=True, order=True)
class CurvePoint:
    """One trained network.

    Parameters
    ----------
    families, how : str
        What it was trained on, and how it looks at it and was trained.
    frames : int
        How many different frames it was trained on.
    updates : int
        Frames that it saw, each as often as it came.
    accuracy, within_one : float
        On the test frames of its recipe.
    test_frames : int
    """

    families: str
    how: str
    frames: int
    updates: int
    accuracy: float
    within_one: float
    test_frames: int


def curve_points(bundles: Iterable[Bundle]) -> list[CurvePoint]:
    """Read the points out of what bundles say of themselves, sorted.

    Raises
    ------
    ValueError
        If a bundle does not hold its recipe and test, or did not begin with random weights.
    """
    points = []
    for bundle in bundles:
        recipe, test = bundle.training.get("recipe"), bundle.metrics.get("test")
        if not recipe or not test:
            raise ValueError(f"the bundle {bundle.name!r} does not hold its recipe and test: train it again")
        if bundle.parent:
            raise ValueError(
                f"the bundle {bundle.name!r} was trained on from another: how many frames it took in all is "
                "not known. Leave it out, or train from random weights, without a parent"
            )
        seen = int(bundle.training["frames_seen"])
        points.append(
            CurvePoint(
                ", ".join(recipe["frames"]["families"]),
                _how(bundle),
                min(recipe.get("training_frames") or seen, seen),
                seen,
                float(test["accuracy"]),
                float(test["within_one"]),
                int(test["frames"]),
            )
        )
    return sorted(points)


def _how(bundle: Bundle) -> str:
    """Name what sets a training apart from others on the same frames."""
    recipe, preprocessing = bundle.training["recipe"], bundle.preprocessing
    parts: list[str] = [preprocessing.intensity]
    if preprocessing.radial_rows:
        parts.append("radial image" if preprocessing.moments == 1 else "radial images of moments")
    if bundle.architecture != "resnet50":
        parts.append(bundle.architecture)
    if recipe["optimizer"] != "adamw":
        parts.append(recipe["optimizer"])
    if recipe["ema_momentum"]:
        parts.append("averaged weights")
    return ", ".join(parts)


def curve_picture(points: Iterable[CurvePoint]) -> Figure:
    """Draw accuracy (full) and within one (broken) against the number of different frames."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 5.5), layout="constrained")
    axes = figure.subplots()
    lines: dict[tuple[str, str], list[CurvePoint]] = {}
    for point in sorted(points):
        lines.setdefault((point.families, point.how), []).append(point)
    for ((families, how), line), style in zip(lines.items(), line_styles(), strict=False):
        frames = [p.frames for p in line]
        axes.plot(frames, [p.accuracy for p in line], label=f"{families} ({how})", **style)
        axes.plot(frames, [p.within_one for p in line], linestyle="--", alpha=0.5, **style)
    axes.set(
        xscale="log",
        ylim=(0.0, 1.03),
        xlabel="different training frames",
        ylabel="accuracy; broken: within one",
    )
    axes.grid(alpha=0.3)
    figure.legend(*axes.get_legend_handles_labels(), loc="outside lower center", ncols=2)
    return figure


@dataclass(frozen=True)
class EpochPoint:
    """One network after one epoch of its training.

    Parameters
    ----------
    epoch : int
        From 1.
    frames : int
        That it had seen at its end, each as often as it came.
    accuracy, loss : float
        On the frames of the epoch, while the weights changed.
    val_accuracy, val_loss : float
        On the frames for validation, with the weights at its end.
    """

    epoch: int
    frames: int
    accuracy: float
    loss: float
    val_accuracy: float
    val_loss: float


def epoch_points(bundle: Bundle) -> list[EpochPoint]:
    """Read out of a bundle how its training went.

    Raises
    ------
    ValueError
        If it does not say.
    """
    curves = bundle.training.get("curves")
    if not curves or "frames_seen" not in bundle.training:
        raise ValueError(
            f"the bundle {bundle.name!r} does not hold the curves of its training: train it again"
        )
    per_epoch = int(bundle.training["frames_seen"]) / int(curves[-1]["epoch"])
    missing = float("nan")
    return [
        EpochPoint(
            int(of["epoch"]),
            round(per_epoch * int(of["epoch"])),
            *(float(of.get(name, missing)) for name in ("accuracy", "loss", "val_accuracy", "val_loss")),
        )
        for of in curves
    ]


def epoch_picture(courses: Mapping[str, Sequence[EpochPoint]]) -> Figure:
    """Draw accuracy and loss against the frames seen; broken: on the frames of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 4.5), layout="constrained")
    for axes, what in zip(figure.subplots(1, 2), ("accuracy", "loss"), strict=True):
        for (name, points), style in zip(courses.items(), line_styles(), strict=False):
            frames = [p.frames / 1000.0 for p in points]
            axes.plot(frames, [getattr(p, f"val_{what}") for p in points], label=name, **style, markersize=4)
            axes.plot(frames, [getattr(p, what) for p in points], color=style["color"], ls="--", alpha=0.6)
        axes.set(xlabel="frames seen, in thousands", ylabel=f"{what}; broken: frames of training")
        axes.grid(alpha=0.3)
    figure.axes[0].set_ylim(0.0, 1.03)
    figure.axes[1].set_yscale("log")  # the first epochs can be far off
    figure.axes[0].legend(loc="lower right")
    return figure
