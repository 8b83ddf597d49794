"""How many frames does it take? Accuracy against training frames, of networks that were trained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from speckle_plugin.explain.style import line_styles
from speckle_plugin.network import Bundle

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["CurvePoint", "curve_picture", "curve_points"]


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
