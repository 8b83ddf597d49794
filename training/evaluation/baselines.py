"""What is known of the disk number without a network: the results that a network is shown beside.

Total intensity and first moment are single numbers; the radial average forgets all
directions, and with them the places of the disks. Where a linear discriminant of these does
as well as a network, the network is not needed.
"""

from __future__ import annotations

import functools
import itertools
import math
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, usable_pixels
from training.frames import DrawnFrame, balanced_set
from training.progress import Report
from training.recipe import FrameRecipe

__all__ = ["FIRST_MOMENTS", "FirstMoment", "baselines", "first_moment", "radial_average"]


@dataclass(frozen=True)
class FirstMoment:
    """A definition of the first moment, ``sum(distance * I) / sum(I)`` over pixels.

    Parameters
    ----------
    floored : bool
        Distances from the beam are rounded down to whole pixels, as in the published code.
    blocked : bool
        The blocked centre (11 x 11 pixels) is left out, as the network has to do without it.
    """

    floored: bool = True
    blocked: bool = False

    @property
    def name(self) -> str:
        """Name for tables and figures."""
        distance = "floored" if self.floored else "exact"
        return f"{distance} distance, {'centre blocked' if self.blocked else 'whole frame'}"


FIRST_MOMENTS = tuple(
    FirstMoment(floored, blocked) for blocked, floored in itertools.product((False, True), (True, False))
)
"""All four definitions; the first is that of the published frames' reference values."""


def first_moment(
    frames: ArrayLike, geometry: FrameGeometry, definition: FirstMoment = FIRST_MOMENTS[0]
) -> NDArray[np.float64]:
    """Compute the first moment of the intensity about the beam, in pixels.

    Pixels in the geometry's mask are left out. The moment of a frame without intensity is NaN.

    Parameters
    ----------
    frames : array, shape (..., rows, columns)
    geometry : FrameGeometry
    definition : FirstMoment
        Which of the four.

    Returns
    -------
    array, shape (...), float64

    Raises
    ------
    ValueError
        If the frames do not have the geometry's shape.

    Notes
    -----
    Source: the paper's figure 6.
    """
    frames = _checked(frames, geometry)
    distance, counted = _distances(geometry, definition)
    values = frames.reshape(*frames.shape[:-2], -1)[..., counted].astype(np.float64)
    weighted, total = values @ distance, values.sum(axis=-1)
    return np.divide(weighted, total, out=np.full(np.shape(total), np.nan), where=total > 0)


def radial_average(frame: ArrayLike, geometry: FrameGeometry) -> NDArray[np.float64]:
    """Average a frame over rings one pixel wide about the beam, outside of the blocked centre.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    geometry : FrameGeometry

    Returns
    -------
    array, shape (rings,), float64
        From the edge of the blocked centre to the farthest pixel; a ring of which no pixel is
        unmasked takes its value from its neighbours.

    Raises
    ------
    ValueError
        If the frame does not have the geometry's shape.
    """
    rings, usable, counts = _rings(geometry)
    sums = np.bincount(rings, _checked(frame, geometry)[usable], minlength=counts.size)
    known = np.flatnonzero(counts)
    means = np.interp(np.arange(counts.size), known, sums[known] / counts[known])
    return means[int(Preprocessing().center_half_width) + 1 :]


def baselines(
    recipe: FrameRecipe,
    per_class: int = 200,
    test_per_class: int = 100,
    seed: int = 0,
    report: Report | None = None,
) -> dict[str, Any]:
    """Train the baselines on simulated frames, and measure them on others.

    Each is a linear discriminant analysis with shrinkage. The last two see the scale of the intensity,
    which the network's preprocessing takes away; all but two of the first moments leave out the
    blocked centre, as the network does.

    Parameters
    ----------
    recipe : FrameRecipe
        Which frames.
    per_class, test_per_class : int
        Frames of each disk number to train and to test on.
    seed : int
        The test frames are those that :func:`training.evaluation.measure.evaluate` makes of the same seed.
    report : callable, optional
        Told of the progress.

    Returns
    -------
    dict
        Plain numbers: what was measured on what, the accuracy of chance, and in `scores` for each
        baseline its accuracy, within_one, and seconds_per_frame of what it is given:

        ``radial average``
            The square root of the radial average over the frame's mean intensity: as good as its
            logarithm without noise and better with it (photon noise has the same deviation at every
            value of a square root), and better than the average itself.
        ``first moment, ...``
            Each of the four definitions.
        ``total``
            Logarithm of the total of the unblocked pixels.
        ``radial average, absolute``
            The radial average as it is. In simulated frames without noise the incoming intensity
            is known exactly, and the total area of the disks is fixed by their number; no measurement
            offers that. What this baseline does better than the first is not to be asked of the network.

    Raises
    ------
    ValueError
        If there are fewer than two training frames, or no test frame, for each disk number.

    Notes
    -----
    Shrinkage after Ledoit and Wolf, J. Multivariate Anal. 88, 365 (2004).
    """
    if per_class < 2 or test_per_class < 1:
        raise ValueError(
            "per_class must be at least 2 and test_per_class at least 1, "
            f"not {per_class} and {test_per_class}"
        )
    classes = len(recipe.disk_numbers)
    train = _features(
        _reported(balanced_set(recipe, per_class, seed, "baseline"), "training", per_class * classes, report)
    )
    test = _features(
        _reported(
            balanced_set(recipe, test_per_class, seed, "test"), "test", test_per_class * classes, report
        )
    )
    return {
        "frames": test_per_class * classes,
        "training_frames": per_class * classes,
        "seed": seed,
        "families": list(recipe.families),
        "grid": f"{recipe.grid} {recipe.size}",
        "chance": 1.0 / classes,
        "scores": {
            name: {
                **_score(train.of[name], train.disk_numbers, test.of[name], test.disk_numbers),
                "seconds_per_frame": test.seconds[name],
            }
            for name in FEATURES
        },
    }


def _reported(
    frames: Iterable[DrawnFrame], what: str, total: int, report: Report | None
) -> Iterator[DrawnFrame]:
    for done, drawn in enumerate(frames, start=1):
        yield drawn
        if report:
            report(f"baselines, {what}", done, total, {})


@dataclass(frozen=True, eq=False)
class _Features:
    """What each baseline is given, arrays (frames, features), and the seconds that a frame of it took."""

    of: dict[str, NDArray[np.float64]]
    disk_numbers: NDArray[np.int64]
    seconds: dict[str, float]


def _features(frames: Iterable[DrawnFrame]) -> _Features:
    rows: dict[str, list[Any]] = {name: [] for name in FEATURES}
    seconds = dict.fromkeys(FEATURES, 0.0)
    disk_numbers: list[int] = []
    for frame, geometry, disk_number in frames:
        disk_numbers.append(disk_number)
        for name, feature in FEATURES.items():
            started = time.perf_counter()
            rows[name].append(np.atleast_1d(feature(frame, geometry)))
            seconds[name] += time.perf_counter() - started
    count = max(1, len(disk_numbers))
    return _Features(
        {name: np.array(values) for name, values in rows.items()},
        np.array(disk_numbers),
        {name: total / count for name, total in seconds.items()},
    )


def _mean(frame: NDArray[np.float32], geometry: FrameGeometry) -> float:
    """Give the mean of the usable pixels; of an empty frame it is not 0."""
    usable = frame[usable_pixels(geometry, Preprocessing())]
    return max(float(usable.mean(dtype=np.float64)), float(np.finfo(np.float32).tiny))


def _relative_radial(frame: NDArray[np.float32], geometry: FrameGeometry) -> NDArray[np.float64]:
    return np.sqrt(radial_average(frame, geometry) / _mean(frame, geometry))


def _total(frame: NDArray[np.float32], geometry: FrameGeometry) -> float:
    return math.log(_mean(frame, geometry) * int(usable_pixels(geometry, Preprocessing()).sum()))


def _moment(definition: FirstMoment) -> Callable[[NDArray[np.float32], FrameGeometry], Any]:
    return lambda frame, geometry: np.nan_to_num(first_moment(frame, geometry, definition))


FEATURES: dict[str, Callable[[NDArray[np.float32], FrameGeometry], Any]] = {
    "radial average": _relative_radial,
    **{f"first moment, {definition.name}": _moment(definition) for definition in FIRST_MOMENTS},
    "total": _total,
    "radial average, absolute": radial_average,
}
"""What each baseline is given of a frame."""


def _score(
    train: NDArray[np.float64],
    classes: NDArray[np.int64],
    test: NDArray[np.float64],
    truth: NDArray[np.int64],
) -> dict[str, float]:
    scale = train.std() or 1.0  # intensities reach 1e9, and the solver squares them
    model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto").fit(train / scale, classes)
    off = np.abs(model.predict(test / scale) - truth)
    return {"accuracy": float((off == 0).mean()), "within_one": float((off <= 1).mean())}


def _checked(frames: ArrayLike, geometry: FrameGeometry) -> NDArray[Any]:
    frames = np.asarray(frames)
    if frames.shape[-2:] != geometry.shape:
        raise ValueError(f"expected frames of {geometry.shape} pixels, got an array of shape {frames.shape}")
    return frames


def _distance_from_beam(geometry: FrameGeometry) -> NDArray[np.float64]:
    rows, columns = (np.arange(n) - c for n, c in zip(geometry.shape, geometry.beam_center, strict=True))
    return np.asarray(np.hypot(rows[:, None], columns[None, :]))


@functools.lru_cache(maxsize=16)
def _distances(
    geometry: FrameGeometry, definition: FirstMoment
) -> tuple[NDArray[np.float64], NDArray[np.intp]]:
    """Give the distances of the pixels that count, and the flat indices of these."""
    distance = _distance_from_beam(geometry)
    if definition.floored:
        distance = np.floor(distance)
    if definition.blocked:
        counted = usable_pixels(geometry, Preprocessing())
    else:
        counted = np.ones(geometry.shape, bool) if geometry.mask is None else ~geometry.mask
    return distance[counted], np.flatnonzero(counted)


@functools.lru_cache(maxsize=16)
def _rings(geometry: FrameGeometry) -> tuple[NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Give the ring of each usable pixel, which these are, and the number of pixels in each ring."""
    rings = np.rint(_distance_from_beam(geometry)).astype(np.intp)
    usable = usable_pixels(geometry, Preprocessing())
    return rings[usable], usable, np.bincount(rings[usable], minlength=rings.max() + 1)
