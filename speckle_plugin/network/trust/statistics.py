"""Numbers of a frame by which odd ones are told: rings, contrast, neighbours, lines, beam, map of distances.

They are taken from the quadrants that the network sees, but of a larger range of k where the frame has it.
None depends on the scale of the intensity. Counts of photons are known by their steps, whatever the gain:
then photon noise is allowed for. What a mask leaves no pixel for, as a beam stop does near the beam, is NaN.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.network.trust import kernels
from speckle_plugin.network.trust.lines import LINE_STATISTICS, Lines
from speckle_plugin.preprocessing import FrameGeometry, Preprocessing
from speckle_plugin.preprocessing.quadrants import Quadrant, quadrants

__all__ = ["STATISTICS", "View", "frame_statistics", "masked_share", "range_of", "view_values", "views_of"]

RANGES = (257, 129)
"""Rows and columns of a quadrant that is looked at, the largest that a frame has."""

ZONES = 10
BANDS = 48
MAP_BINS = 12
AROUND_ZEROS = np.array([16.0, 64.0, 256.0, 1024.0], np.float32)
"""Photons that eight neighbours have together, from which on a pixel of 0 is looked at."""

BEAM_REGION = 64
OFFSETS = (3.0, 8.0)
DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))
CANDIDATES = ((0.0, 0.0), *((o * a, o * b) for o in OFFSETS for a, b in DIRECTIONS))

LARGEST = 1e6
"""Stands for what is infinite."""

NO_COUNTS = 9.0
"""Stands for the logarithm of the number of photons where a frame has no steps of photons."""

STATISTICS: dict[str, int] = {
    "photons": 2,
    "profile": BANDS,
    "contrast": 3 * ZONES,
    "angles": 3 * ZONES,
    "slopes": 2 * ZONES,
    "beam": len(CANDIDATES) - 1,
    "pixels": 18,
    "lines": LINE_STATISTICS,
    "map": 3 * MAP_BINS,
    "symmetry": 3,
}
"""Groups of numbers, in their order, and how many there are of each."""

PHOTONS, COUNTED = 0, 1
"""Places of the logarithm of the number of photons, and of whether a frame is one of counts."""


class Rings(NamedTuple):
    """The valid pixels of a view in the order of their rings.

    Parameters
    ----------
    places : array of int, shape (pixels,)
        On the flattened quadrant.
    starts : array of int, shape (rings + 1,)
        Where each ring begins, and the last one ends.
    zones : array of int, shape (zones + 1,)
        The first ring of each zone, and the number of rings.
    cosine, sine : array of float32, shape (pixels,)
        Of the angle of each pixel.
    """

    places: NDArray[np.intp]
    starts: NDArray[np.intp]
    zones: NDArray[np.intp]
    cosine: NDArray[np.float32]
    sine: NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class View:
    """What is worked out once for a quadrant.

    Parameters
    ----------
    quadrant : Quadrant
    whole : Quadrant
        The same with a place for each pixel, any one for those that are left out.
    left_out : array of int, shape (pixels,)
        Places of these on the flattened quadrant.
    counts : array, shape (rings,)
        Pixels of each ring.
    band : array of int, shape (rings,)
    rings : Rings
    candidates : array of int16, shape (candidates, rows, columns)
        Rings about other places of the beam.
    candidate_counts : array, shape (candidates, rings)
        Pixels of each.
    lines : Lines
    unseen : array of bool, shape (sum of `STATISTICS`,)
        Statistics of bands and zones without a pixel.
    """

    quadrant: Quadrant
    whole: Quadrant
    left_out: NDArray[np.intp]
    counts: NDArray[np.float64]
    band: NDArray[np.intp]
    rings: Rings
    candidates: NDArray[np.int16]
    candidate_counts: NDArray[np.float64]
    lines: Lines
    unseen: NDArray[np.bool_]


def masked_share(views: Sequence[View]) -> float:
    """Give the share of the pixels of views that a mask leaves out."""
    return 1.0 - float(np.mean([view.quadrant.valid.mean() for view in views]))


def range_of(geometry: FrameGeometry, settings: Preprocessing) -> int | None:
    """Give the rows of the quadrants that are looked at; None where a frame has too few.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    shapes = [q.valid.shape for q in quadrants(geometry, replace(settings, crop=RANGES[0]))]
    least = min(min(shape) for shape in shapes)
    return next((size for size in RANGES if size <= least), None)


@functools.lru_cache(maxsize=16)
def views_of(geometry: FrameGeometry, settings: Preprocessing, size: int) -> tuple[View, ...]:
    """Work out the views of a frame, once."""
    return tuple(_view(q) for q in quadrants(geometry, replace(settings, crop=size)))


def _view(quadrant: Quadrant) -> View:
    rows, columns = quadrant.valid.shape
    i, j = np.arange(rows)[:, None], np.arange(columns)[None, :]
    ring = np.where(quadrant.valid, np.rint(np.hypot(i, j)), -1).astype(np.int16)
    rings = int(np.rint(math.hypot(rows, columns))) + 1
    # Narrow where the profile is steep, and the corner as one.
    k = np.arange(rings) / rows
    band = np.minimum((BANDS * np.sqrt(np.minimum(k / 1.2, 1.0))).astype(np.intp), BANDS - 1)
    zone = np.clip((ZONES * np.log(np.maximum(k, 1e-9) / 0.02) / np.log(1.3 / 0.02)), 0, ZONES - 1).astype(
        np.intp
    )
    in_rings = _in_rings(ring, zone, np.arctan2(j, i))
    counts = np.diff(in_rings.starts).astype(float)
    near = np.arange(min(BEAM_REGION, rows))
    candidates = np.stack([np.hypot(near[:, None] - a, near[None, :] - b) for a, b in CANDIDATES])
    candidates = np.rint(candidates).astype(np.int16)
    most = int(candidates.max()) + 1
    seen = [c[quadrant.valid[: near.size, : near.size]] for c in candidates]
    return View(
        quadrant,
        _whole(quadrant),
        np.flatnonzero(~quadrant.valid),
        counts,
        band,
        in_rings,
        candidates,
        np.stack([np.bincount(c, minlength=most) for c in seen]).astype(float),
        Lines.of(ring, rings),
        _unseen(np.bincount(band, counts, BANDS), np.diff(in_rings.starts[in_rings.zones])),
    )


def _in_rings(ring: NDArray[np.int16], zone: NDArray[np.intp], angle: NDArray[np.float64]) -> Rings:
    order = np.argsort(ring, axis=None, kind="stable")
    places = order[np.searchsorted(ring.ravel()[order], 0) :]  # those that are left out have -1
    angles = angle.ravel()[places]
    return Rings(
        places,
        np.searchsorted(ring.ravel()[places], np.arange(zone.size + 1)),
        np.searchsorted(zone, np.arange(ZONES + 1)),
        np.cos(angles).astype(np.float32),
        np.sin(angles).astype(np.float32),
    )


def _whole(quadrant: Quadrant) -> Quadrant:
    first, second = (np.zeros(quadrant.valid.shape, np.intp) for _ in range(2))
    first[quadrant.valid], second[quadrant.valid] = quadrant.first, quadrant.second
    alike = quadrant.first is quadrant.second
    return Quadrant(np.ones_like(quadrant.valid), first, first if alike else second)


def _unseen(per_band: NDArray[Any], per_zone: NDArray[Any]) -> NDArray[np.bool_]:
    empty = {"profile": per_band == 0}
    for name in ("contrast", "angles", "slopes"):
        empty[name] = np.repeat(per_zone == 0, STATISTICS[name] // ZONES)
    return np.concatenate([empty.get(name, np.zeros(count, bool)) for name, count in STATISTICS.items()])


def frame_statistics(
    frame: NDArray[Any], inputs: NDArray[np.float32], views: tuple[View, ...]
) -> NDArray[np.float32]:
    """Compute the statistics of a frame, the means over its views.

    Parameters
    ----------
    frame : array, shape (rows, columns)
    inputs : array, shape (views, view rows, view columns)
        What the network is given of it.
    views : tuple of View

    Returns
    -------
    array, shape (sum of `STATISTICS`,), float32
        NaN where a view has no pixel for it.
    """
    # Pixels that the network does not see may hold anything.
    with np.errstate(all="ignore"):
        values = [view_values(frame, view) for view in views]
        pixels = [view.quadrant.first.size for view in views]
        sums = [kernels.pixel_sums(v, count) for v, count in zip(values, pixels, strict=True)]
        # One answer for all views: by chance a frame without noise looks like counts in one of them.
        counted = all(of_view[-1] < 0.002 * count for of_view, count in zip(sums, pixels, strict=True))
        found = [
            _of_view(frame, given, view, of_view, its_sums, counted)
            for given, view, of_view, its_sums in zip(inputs, views, values, sums, strict=True)
        ]
        mean = np.nan_to_num(np.mean(found, axis=0), nan=0.0, posinf=LARGEST, neginf=-LARGEST)
        mean[np.any([view.unseen for view in views], axis=0)] = np.nan
        return mean.astype(np.float32)


def view_values(frame: NDArray[Any], view: View) -> NDArray[np.float32]:
    """Give the pixels of a view of a frame, shape of the quadrant; those that are left out are 0."""
    values = view.whole.average(frame)
    values.reshape(-1)[view.left_out] = 0.0
    return values


def _of_view(
    frame: NDArray[Any],
    given: NDArray[np.float32],
    view: View,
    values: NDArray[np.float32],
    pixel_sums: tuple[float, float, int, int, int, int],
    counted: bool,
) -> NDArray[np.float64]:
    total = float(view.quadrant.first.size)
    least, most, negative, zero, largest, fractions = pixel_sums
    unit = float(least) if counted else 0.0
    in_rings = values.reshape(-1).take(view.rings.places)
    sums = kernels.ring_sums(in_rings, view.rings.starts)
    mean = sums / np.maximum(view.counts, 1.0)
    level = sums.sum() / total
    photons = math.log10(max(sums.sum() / unit, 1.0)) if counted else NO_COUNTS

    per_band = np.bincount(view.band, view.counts, BANDS)
    in_band = np.bincount(view.band, sums, BANDS) / np.maximum(per_band, 1.0)
    floor = 0.5 * unit / np.maximum(per_band, 1.0) + 1e-12 * level
    profile = np.where(per_band > 0, np.log((in_band + floor) / level), 0.0)

    logs = np.log(mean + 1e-9 * level + 0.5 * unit / np.maximum(view.counts, 1.0))
    slope = np.clip(_smooth_slope(np.where(view.counts > 0, logs, np.nan)), -1.0, 1.0)
    zones = kernels.zone_sums(in_rings, *view.rings[1:], mean, slope, unit)
    inside = np.maximum(zones[:, :1], 1.0)
    contrast = np.clip(zones[:, 1:4] / inside, -20.0, 20.0)
    angles, slopes = (zones[:, a:b] / np.sqrt(inside) for a, b in ((4, 7), (7, 9)))

    likelihoods = kernels.beam_likelihoods(values, view.candidates, view.candidate_counts)
    outliers = kernels.neighbour_outliers(values, view.quadrant.valid, unit)
    fractions_of = np.array([negative, zero, fractions]) / total
    more = np.log1p(np.concatenate([outliers[:, 1:].ravel(), [largest]]))
    dark = np.zeros(len(AROUND_ZEROS))
    if counted:
        among, zeros = kernels.zeros_among(values, view.quadrant.valid, unit * AROUND_ZEROS).T
        dark = np.log10((zeros + 0.02) / (among + 20.0))
    pixel = np.concatenate([np.minimum(outliers[:, 0], 50.0), more, np.log10(fractions_of + 1e-6), dark])
    return np.concatenate(
        [
            [photons, float(counted)],
            profile,
            contrast.ravel(),
            angles.ravel(),
            slopes.ravel(),
            (likelihoods[1:] - likelihoods[0]) * 10.0,
            pixel,
            view.lines.compare(values, _mean_roots(in_rings, view), unit),
            _map(given),
            _symmetry(frame, view.quadrant, unit),
        ]
    )


def _smooth_slope(logs: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give the slope of a profile by the differences over four rings; 0 where it is not known."""
    slope = np.zeros_like(logs)
    slope[2:-2] = (logs[4:] - logs[:-4]) / 4.0
    return np.nan_to_num(slope)


def _mean_roots(in_rings: NDArray[np.float32], view: View) -> NDArray[np.float32]:
    """Give the mean of the roots of each ring's values."""
    sums = kernels.ring_sums(np.sqrt(np.maximum(in_rings, 0.0)), view.rings.starts)
    return np.asarray(sums / np.maximum(view.counts, 1.0), np.float32)


def _map(given: NDArray[np.float32]) -> NDArray[np.float64]:
    """Give mean, deviation and largest value of the input in bins of the distance from its corner."""
    bins, counts = _map_bins(min(given.shape))
    mean, square, largest = kernels.map_sums(given[: len(bins), : len(bins)], bins, MAP_BINS)
    mean, square = mean / counts, square / counts
    return np.concatenate([mean, np.sqrt(np.maximum(square - mean**2, 0.0)), largest])


@functools.lru_cache(maxsize=8)
def _map_bins(size: int) -> tuple[NDArray[np.int16], NDArray[np.float64]]:
    i = np.arange(size)
    bins = (np.maximum(i[:, None], i[None, :]) * MAP_BINS // size).astype(np.int16)
    return bins, np.bincount(bins.ravel(), minlength=MAP_BINS).astype(float)


def _symmetry(frame: NDArray[Any], quadrant: Quadrant, unit: float) -> NDArray[np.float64]:
    """Compare the two copies of each pixel, where I(k) = I(-k) is measured twice; zeros where it is not."""
    if quadrant.first is quadrant.second:
        return np.zeros(3)
    flat = frame.reshape(-1)
    one, other = (flat.take(places).astype(np.float64) for places in (quadrant.first, quadrant.second))
    there = quadrant.first != quadrant.second
    one, other = one[there], other[there]
    total = np.abs(one) + np.abs(other) + 1e-30
    # The unit is that of the means of two.
    ratio = (one - other) ** 2 / (2.0 * unit * total + 1e-6 * total**2 if unit else total**2)
    return np.log10(np.array([ratio.mean(), np.median(ratio), ratio.max()]) + 1e-9)
