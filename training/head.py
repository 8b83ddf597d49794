"""Fit the head that counts disks by statistics of frames, and is joined with a network.

Its perceptron needs no network: it learns from as many simulated frames as a core draws. They are kept in a
folder in parts, so that a fit that was interrupted goes on. How much it counts beside the network is fitted
to frames that both see (those of :func:`training.confidence.graded_frames`).
"""

from __future__ import annotations

import functools
import itertools
import json
import math
from collections.abc import Callable, Iterable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from simulated_devices import Family, grid_by_name
from simulated_devices.disks import CONSTANT_RADIUS
from simulated_devices.grids import BOX_LENGTH
from speckle_plugin.network import Bundle
from speckle_plugin.network.keras_backend import import_keras_on_tensorflow
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import frame_statistics, views_of
from speckle_plugin.network.trust.head import Head, head_inputs, rounded
from speckle_plugin.network.trust.oddness import LEAST_DEVIATION, log_probabilities, perceive
from speckle_plugin.network.trust.spots import SPOTS, SpotMaps, frame_spots
from speckle_plugin.network.trust.statistics import COUNTED, STATISTICS
from speckle_plugin.preprocessing import Preprocessing, prepare
from training.frames import stream
from training.looks import looked_range
from training.parts import in_processes, save_part, write_whole
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = [
    "HeadFrames",
    "draw_head_frames",
    "fit_head",
    "fit_perceptron",
    "fit_shares",
    "fit_taught",
    "head_recipe",
    "maps_of",
    "means_and_deviations",
    "read_part",
    "recipe_of_rows",
    "soft_labels",
]

SHARES = {Family.MONO: 0.2, Family.CONSTANT_RADIUS: 0.3}
OTHER_SHARE = 0.5
"""Of the frames, by family: most where the number is hardest to tell."""

NOISY_SHARE = 0.5
FEWEST = 6
"""Frames of a kind, with counts or without, that are scaled by themselves."""

ROUNDING = 1e-9

PART = 2000
"""Frames that are drawn, and kept, together."""

LAYERS = (192, 96, 64)
LEARNING_RATE = 2e-3
WEIGHT_DECAY = 0.2
SOFTNESS = 0.3
"""Disks in which the share of a label that its neighbours get falls to 1/e."""

BATCH = 256
EPOCHS = 30

LARGEST_SHARE = 5.0
SAMENESS = 1e-3
"""How much it counts that the shares of families are alike, beside the probability of the truth."""

TEACHERS = 3
"""Other perceptrons, of other seeds, from which the one that is kept learns, too."""


class HeadFrames(NamedTuple):
    """What was seen of N maps of frames."""

    statistics: NDArray[np.float32]
    """Shape (N, statistics)."""

    spots: NDArray[np.float32]
    """Shape (N, spots)."""

    disk_numbers: NDArray[np.int64]
    """True ones, shape (N,)."""

    @classmethod
    def join(cls, parts: Iterable[HeadFrames]) -> HeadFrames:
        """Put parts together."""
        return cls(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def first(self, count: int) -> HeadFrames:
        """Give the first views."""
        return HeadFrames(self.statistics[:count], self.spots[:count], self.disk_numbers[:count])


def head_recipe(recipe: FrameRecipe) -> FrameRecipe:
    """Give the recipe of the frames that a head learns from, by that of its network."""
    shares = tuple(SHARES.get(Family(family), OTHER_SHARE) for family in recipe.families)
    return replace(recipe, shares=shares, noisy_share=NOISY_SHARE if recipe.photons else 0.0)


def recipe_of_rows(recipe: FrameRecipe, rows: int) -> FrameRecipe:
    """Give the recipe of frames whose quadrants have so many rows."""
    return replace(recipe, size=rows if recipe.grid == "quadrant" else 2 * rows - 1)


def maps_of(recipe: FrameRecipe, rows: int) -> SpotMaps:
    """Give what is looked at of the maps of a recipe's frames, for quadrants of so many rows.

    Of the box all is seen, and the largest disk does not meet itself; where the box takes a small part of
    the map, it is drawn more finely.
    """
    spacing = math.pi / (grid_by_name(recipe.grid).pitch * (rows - 1))
    oversampling = max(1, math.floor((rows - 1) * spacing / BOX_LENGTH))
    spacing /= oversampling
    points = min(math.ceil(BOX_LENGTH / spacing - ROUNDING), oversampling * (rows - 1)) + 1
    near = math.ceil(2.0 * CONSTANT_RADIUS / spacing)
    return SpotMaps(rows, near, points, oversampling, 1 if recipe.grid == "quadrant" else 2)


def draw_head_frames(
    bundle: Bundle,
    recipe: FrameRecipe,
    rows: int,
    seed: int,
    count: int,
    folder: Path,
    report: Report | None = None,
    part_frames: int = PART,
) -> HeadFrames:
    """Draw frames, and keep what is seen of them in a folder.

    Parameters
    ----------
    bundle : Bundle
        Its preprocessing is taken; its network is not run.
    recipe : FrameRecipe
        That of the bundle.
    rows : int
        Of the quadrants whose spots are counted; the frames have as many as that takes.
    seed, count : int
        Rounded up to whole parts.
    folder : path
        Parts that are there are taken from it.
    report : callable, optional
        Told of the progress.
    part_frames : int
        Frames of each part.

    Raises
    ------
    ValueError
        If the folder holds parts of other frames.
    """
    size = looked_range(bundle, recipe)  # as of the frames beside which the head will be heard
    recipe = recipe_of_rows(head_recipe(recipe), rows)
    maps = maps_of(recipe, rows)
    drawn = {
        "seed": seed,
        "size": size,
        "maps": asdict(maps),
        "statistics": STATISTICS,
        "spots": SPOTS,
        "part_frames": part_frames,
        "frames": asdict(recipe),
    }
    _claim(folder, {**drawn, "preprocessing": bundle.preprocessing.hash})
    parts = range(math.ceil(count / part_frames))
    missing = [part for part in parts if not _path(folder, part).exists()]
    done = (len(parts) - len(missing)) * part_frames
    make = functools.partial(_make_part, recipe, bundle.preprocessing, size, maps, seed, folder, part_frames)
    for _ in in_processes(make, missing):
        done += part_frames
        if report:
            report("head", done, len(parts) * part_frames, {})
    return HeadFrames.join(read_part(_path(folder, part)) for part in parts)


def _claim(folder: Path, made: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    note, text = folder / "frames.json", json.dumps(made, indent=2, sort_keys=True)
    if not note.exists():
        write_whole(note, text)
    elif note.read_text() != text:
        raise ValueError(f"{folder} holds what was seen of other frames: give another folder, or empty it")


def _path(folder: Path, part: int) -> Path:
    return folder / f"{part:05d}.npz"


def read_part(path: Path) -> HeadFrames:
    """Read a part of a folder."""
    with np.load(path) as arrays:
        return HeadFrames(arrays["statistics"], arrays["spots"], arrays["disk_numbers"])


def _make_part(
    recipe: FrameRecipe,
    settings: Preprocessing,
    size: int,
    maps: SpotMaps,
    seed: int,
    folder: Path,
    count: int,
    part: int,
) -> None:
    seen: list[tuple[NDArray[np.float32], NDArray[np.float32], int]] = []
    with threadpool_limits(1):
        for frame, geometry, number in itertools.islice(stream(recipe, seed, "head", part * count), count):
            views = views_of(geometry, settings, size)
            inputs = prepare(frame, settings, geometry)[0]
            statistics = frame_statistics(frame, inputs, views)
            spots = frame_spots(frame, statistics, geometry, settings, maps)
            seen.extend((statistics, of_map, number) for of_map in spots)
    columns = [np.array(column) for column in zip(*seen, strict=True)]
    save_part(_path(folder, part), dict(zip(HeadFrames._fields, columns, strict=True)))


def fit_head(
    frames: HeadFrames, classes: tuple[int, ...], maps: SpotMaps, seed: int, report: Report | None = None
) -> Head:
    """Fit the perceptron; the shares are such that it speaks alone.

    Parameters
    ----------
    frames : HeadFrames
    classes : tuple of int
    maps : SpotMaps
        Of :func:`maps_of`.
    seed : int
    report : callable, optional
        Told of the progress.
    """
    rows = np.concatenate([frames.statistics, frames.spots], axis=1)
    means, deviations = means_and_deviations(rows)
    inputs = head_inputs(rows, means, deviations)
    labels = soft_labels(np.searchsorted(classes, frames.disk_numbers), len(classes))
    layers = fit_taught(inputs, labels, seed, report)
    return Head(maps, means, deviations, layers, np.tile([0.0, 1.0], (2, 1, 1)))


def fit_taught(
    inputs: NDArray[np.float32], labels: NDArray[np.float32], seed: int, report: Report | None = None
) -> list[NDArray[np.float32]]:
    """Fit a perceptron as :func:`fit_perceptron` does, which learns from a few others, too.

    These are fitted first, and differ by their seeds. What they say together is right more often than what
    one of them says.

    Notes
    -----
    Source: Hinton, Vinyals and Dean, Distilling the knowledge in a neural network, arXiv:1503.02531 (2015).
    """
    said = np.zeros_like(labels)
    for teacher in range(TEACHERS):
        layers = fit_perceptron(inputs, labels, seed + 1 + teacher, _of_fit(report, teacher))
        said += np.exp(log_probabilities(perceive(inputs, layers))) / TEACHERS
    return fit_perceptron(inputs, (labels + said) / 2.0, seed, _of_fit(report, TEACHERS))


def _of_fit(report: Report | None, fit: int) -> Report | None:
    """Give the report of one of the fits of a head."""
    if report is None:
        return None
    return lambda what, done, total, numbers: report(
        what, fit * total + done, (TEACHERS + 1) * total, numbers
    )


def means_and_deviations(rows: NDArray[np.float32]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Give means and deviations of statistics and spots, shape (2, inputs), without counts and with."""
    counted = rows[:, COUNTED] > 0.5
    groups = [rows[counted == kind] for kind in (False, True)]
    if min(len(group) for group in groups) < FEWEST:  # a recipe without photon noise
        groups = [rows, rows]
    seen = [np.ma.masked_invalid(group) for group in groups]  # NaN where a mask leaves no pixels
    means = np.stack([group.mean(axis=0, dtype=np.float64).filled(0.0) for group in seen])
    deviations = np.stack([group.std(axis=0, dtype=np.float64).filled(0.0) for group in seen])
    return means.astype(np.float32), (deviations + LEAST_DEVIATION).astype(np.float32)


def fit_perceptron(
    inputs: NDArray[np.float32],
    labels: NDArray[np.float32],
    seed: int,
    report: Report | None = None,
    *,
    layers: tuple[int, ...] = LAYERS,
    epochs: int = EPOCHS,
    loss: Callable[..., Any] | None = None,
) -> list[NDArray[np.float32]]:
    """Fit a perceptron to inputs, shape (N, inputs), and the probabilities of classes, shape (N, classes).

    Its layers, passes over the inputs, and the loss of probabilities and logits may be others.

    Returns
    -------
    list of array
        Weights and biases in turns, rounded as they are kept.
    """
    import_keras_on_tensorflow()
    import keras

    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(units, activation="relu") for units in layers]
    model = keras.Sequential([keras.Input((inputs.shape[1],)), *hidden, keras.layers.Dense(labels.shape[1])])
    steps = epochs * math.ceil(len(inputs) / BATCH)
    model.compile(
        keras.optimizers.AdamW(
            keras.optimizers.schedules.CosineDecay(LEARNING_RATE, steps), weight_decay=WEIGHT_DECAY
        ),
        loss or keras.losses.CategoricalCrossentropy(from_logits=True),
    )

    def tell(epoch: int, logs: dict[str, float]) -> None:
        if report:
            report("fitting the head", epoch + 1, epochs, {"loss": logs["loss"]})

    told = keras.callbacks.LambdaCallback(on_epoch_end=tell)
    model.fit(inputs, labels, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[told])
    return [rounded(np.asarray(variable, np.float32)) for variable in model.weights]


def soft_labels(truth: NDArray[np.intp], classes: int, softness: float = SOFTNESS) -> NDArray[np.float32]:
    """Give labels, shape (N, classes), of which the neighbours of the true class have a share.

    Parameters
    ----------
    truth : array of int, shape (N,)
        Places of the classes.
    classes : int
    softness : float
        0 for hard labels, see `SOFTNESS`.
    """
    places = np.arange(classes)
    apart = np.abs(places[:, None] - places)
    shares = np.exp(-apart / softness) if softness else np.eye(classes)
    return (shares / shares.sum(axis=1, keepdims=True)).astype(np.float32)[truth]


def fit_shares(
    head: Head,
    before: NDArray[np.floating],
    alone: NDArray[np.floating],
    statistics: NDArray[np.float32],
    families: NDArray[np.floating],
    truth: NDArray[np.intp],
) -> Head:
    """Fit how much a head counts beside what was said before, so that the truth is most probable.

    First alike for all families, then for each family as far as that helps.

    Parameters
    ----------
    head : Head
    before, alone : array, shape (N, views, classes)
        Logits of the voices before it, and its own.
    statistics : array, shape (N, statistics)
        Of the same frames, of which the perceptron has learned none.
    families : array, shape (N, families)
        How probable each is.
    truth : array of int, shape (N,)
        Index of the true class of each frame.
    """
    both = log_probabilities(before), log_probabilities(alone)
    counted = statistics[:, COUNTED] > 0.5
    shares = np.tile([1.0, 0.0], (2, families.shape[1], 1))  # who was not asked is not heard
    for kind in (0, 1):
        chosen = np.flatnonzero(counted == kind)
        if not len(chosen):
            continue
        voices = both[0][chosen], both[1][chosen]
        bounds = [(0.0, LARGEST_SHARE)] * 2
        seen = voices, truth[chosen]
        alike = minimize(_loss_alike, [0.5, 0.5], seen, "Nelder-Mead", bounds=bounds).x
        start, more = np.tile(alike, families.shape[1]), (families[chosen], alike)
        found = minimize(_loss_of_families, start, seen + more, bounds=bounds * families.shape[1])
        shares[kind] = found.x.reshape(-1, 2)
    return replace(head, shares=shares)


Voices = tuple[NDArray[np.float64], NDArray[np.float64]]


def _loss(shares: NDArray[np.float64], voices: Voices, truth: NDArray[np.intp]) -> float:
    """Give how improbable the truth is, by shares of the two voices in each frame, shape (N, 2)."""
    before, alone = (share[:, None, None] * voice for share, voice in zip(shares.T, voices, strict=True))
    return -float(join_views(before + alone, 1.0)[np.arange(len(truth)), truth].mean())


def _loss_alike(shares: NDArray[np.float64], voices: Voices, truth: NDArray[np.intp]) -> float:
    return _loss(np.broadcast_to(shares, (len(truth), 2)), voices, truth)


def _loss_of_families(
    shares: NDArray[np.float64],
    voices: Voices,
    truth: NDArray[np.intp],
    families: NDArray[np.floating],
    alike: NDArray[np.float64],
) -> float:
    of_families = shares.reshape(-1, 2)
    apart = float(((of_families - alike) ** 2).sum())
    return _loss(families @ of_families, voices, truth) + SAMENESS * apart
