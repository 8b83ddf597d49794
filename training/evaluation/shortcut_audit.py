"""Make sure that no single number of the network's input gives the disk number away.

A network takes the easiest way. Where the brightness or the contrast of the prepared
input told the class, it would learn that and no speckle pattern, and fail on the first real detector.
So six scalars of the input are given to a small classifier of their own, and the audit
fails where one of them does too well.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from sklearn.tree import DecisionTreeClassifier

from speckle_plugin.preprocessing import Preprocessing, prepare
from training.frames import balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["ShortcutError", "audit_inputs", "audit_recipe", "bounds"]

FOLDS = 5
FRAMES_PER_LEAF = 5
SCALARS = ("mean", "deviation", "maximum", "minimum", "first pixel", "last pixel")
"""The total is the mean in another unit: all inputs have as many pixels. The first pixel is that of
k = 0, or of distance 0 in a Patterson map."""

SCALE = frozenset({"mean", "deviation"})
"""Scalars that standardization makes the same for every frame."""

RESOLUTION = 1e-4
"""Of the scalars, in standard deviations of the inputs: rounding errors of a standardization
are below it, and what is below it a network in half precision does not see."""

SHARE_OF_SCALE = 0.05
SHARE_OF_PATTERN = 2.0 / 3.0
"""How far from chance towards the network's target a scalar may come; see :func:`bounds`."""


class ShortcutError(ValueError):
    """A scalar of the network's input tells the disk number.

    Parameters
    ----------
    message : str
    accuracies : dict of str to float
        What each scalar told, those that passed as well.
    """

    def __init__(self, message: str, accuracies: dict[str, float]) -> None:
        super().__init__(message)
        self.accuracies = accuracies


def bounds(classes: int, frames: int, target: float = 1.0) -> dict[str, float]:
    """Give the accuracy that each scalar of the input may reach.

    Mean and deviation are set by the standardization, so they should tell nothing: they may come a
    twentieth of the way from chance to certainty, and four standard errors of the audit itself.
    The other four are single pixels of the pattern, and there is honest knowledge in them: equal disks
    have a form factor that names their number, and how far it falls shows in the lowest pixel.
    They may come two thirds of the way from chance to what the network is asked for: beyond that
    most of what the network is praised for would be in one pixel. Four standard errors are added
    here as well.

    Parameters
    ----------
    classes, frames : int
        How many of them are audited.
    target : float
        Accuracy that the network is asked for on such frames.
    """
    chance = 1.0 / classes
    error = float(np.sqrt(chance * (1.0 - chance) / frames))
    scale = chance + SHARE_OF_SCALE * (1.0 - chance) + 4.0 * error
    pattern = chance + SHARE_OF_PATTERN * (target - chance) + 4.0 * error
    return {name: min(scale, pattern) if name in SCALE else pattern for name in SCALARS}


def audit_inputs(inputs: Iterable[tuple[NDArray[np.floating], int]], target: float = 1.0) -> dict[str, float]:
    """Measure how well single scalars of the network's inputs tell the disk number.

    The accuracies are those of decision trees, cross-validated: a tree can cut one number into any
    intervals, so that a relation need be neither rising nor falling.

    Parameters
    ----------
    inputs : iterable of (array of shape (rows, columns), disk number)
        What the network is given of each frame.
    target : float
        Accuracy that the network is asked for on such frames.

    Returns
    -------
    dict of str to float
        Accuracy by scalar: mean, deviation, maximum, minimum, first and last pixel.

    Raises
    ------
    ShortcutError
        If a scalar exceeds its bound (:func:`bounds`).
    ValueError
        If there are fewer than two disk numbers, or too few frames of one to cross-validate, or
        the target is not better than chance.
    """
    rows, numbers = [], []
    for pixels, disk_number in inputs:
        rows.append(_scalars(pixels))
        numbers.append(disk_number)
    values, truth = np.array(rows), np.array(numbers)
    found, counts = np.unique(truth, return_counts=True)
    least = FOLDS * FRAMES_PER_LEAF
    if found.size < 2 or counts.min() < least:
        raise ValueError(
            f"the audit needs two disk numbers or more and {least} frames of each, not "
            f"{dict(zip(found.tolist(), counts.tolist(), strict=True))}"
        )
    if not 1.0 / found.size < target <= 1.0:
        raise ValueError(f"target must be above chance ({1 / found.size:.3g}) and at most 1, not {target}")
    values = np.rint(values / (RESOLUTION * max(values[:, SCALARS.index("deviation")].mean(), 1e-30)))
    accuracies = {name: _accuracy(values[:, [i]], truth) for i, name in enumerate(SCALARS)}
    allowed = bounds(found.size, truth.size, target)
    shortcuts = [name for name in SCALARS if accuracies[name] > allowed[name]]
    if shortcuts:
        told = ", ".join(f"{name} {accuracies[name]:.1%} (bound {allowed[name]:.1%})" for name in SCALARS)
        raise ShortcutError(
            f"the network's input gives the disk number away by its {' and '.join(shortcuts)}. "
            f"Of {truth.size} frames this part is named by each number alone, where chance is "
            f"{1 / found.size:.1%}: {told}. Change the preprocessing: what is above its bound must not "
            "depend on the disk number",
            accuracies,
        )
    return accuracies


def audit_recipe(
    recipe: FrameRecipe,
    settings: Preprocessing,
    per_class: int = 60,
    seed: int = 0,
    target: float = 1.0,
    report: Report | None = None,
) -> dict[str, float]:
    """Audit what the preprocessing makes of a recipe's frames; see :func:`audit_inputs`.

    Of a frame that gives two views, the first is taken.

    Parameters
    ----------
    recipe : FrameRecipe
    settings : Preprocessing
    per_class, seed : int
        Frames of each disk number, in a stream that serves nothing else.
    target : float
    report : callable, optional
        Told of the progress.
    """
    total = per_class * len(recipe.disk_numbers)

    def inputs() -> Iterator[tuple[NDArray[np.float32], int]]:
        for done, drawn in enumerate(balanced_set(recipe, per_class, seed, "shortcut audit"), start=1):
            yield prepare(drawn.frame, settings, drawn.geometry)[0, 0], drawn.disk_number
            if report:
                report("shortcut audit", done, total, {})

    return audit_inputs(inputs(), target)


def _scalars(pixels: NDArray[np.floating]) -> tuple[float, ...]:
    pixels = np.asarray(pixels, np.float64)
    values = (pixels.mean(), pixels.std(), pixels.max(), pixels.min(), pixels[0, 0], pixels[-1, -1])
    return tuple(float(value) for value in values)


def _accuracy(values: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    tree = DecisionTreeClassifier(
        min_samples_leaf=FRAMES_PER_LEAF, max_leaf_nodes=4 * np.unique(truth).size, random_state=0
    )
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=0)
    return float((cross_val_predict(tree, values, truth, cv=folds) == truth).mean())
