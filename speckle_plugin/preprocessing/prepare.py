"""From a raw frame to the network's input: the one place where this is decided.

Training and inference both call :func:`prepare`; the settings travel in the model
bundle, and their hash in every result. A frame is folded about the beam into quadrants
("views") that the network knows: one for a detector with the beam in its corner, two for
a detector with the beam inside, where I(k) = I(-k) pairs each pixel with a second copy.
The blocked centre and the user's mask are left out. Then either the intensity is scaled
and the unmasked pixels are standardized to zero mean and unit variance, masked pixels
becoming 0; or the view is turned into its Patterson map, the map of distances between
disks, which is compressed and standardized (see docs/decisions/0005-patterson-map.md).
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.fft import dctn
from scipy.sparse import csr_array

__all__ = [
    "FrameGeometry",
    "Preprocessing",
    "hash_mask",
    "map_spacing",
    "prepare",
    "settings_from_dict",
    "usable_pixels",
    "used_values",
    "view_shape",
]

SMALLEST_VIEW = 32
"""Rows and columns that a view needs, for the network's five halvings."""

SMALLEST_VALID_FRACTION = 0.25
"""A view with a smaller part of its pixels unmasked is not used."""

RADIAL_OFFSET = 1e-2
"""Added to the weighted radial average, in units of its mean, before its logarithm is taken."""


@dataclass(frozen=True)
class Preprocessing:
    """Settings of the preprocessing, stored in the bundle.

    Parameters
    ----------
    crop : int or None
        Rows and columns kept of each view, counted from k = 0; None keeps all.
    center_half_width : float
        Pixels with ``|i - row| <= half width`` and ``|j - column| <= half width`` are
        masked: 5 gives the 11 x 11 block of the paper around k = 0.
    intensity : {"log", "linear", "patterson"}
        What is standardized: ``log(I + log_offset * mean)``, I itself, or the Patterson map
        ``P(x, y) = sum_ij w_ij I_ij cos(k_i x) cos(k_j y)``, in which each pair of disks is a spot
        at its distance. Masked pixels take the mean of the unmasked ones at the same |k|.
    log_offset : float
        Offset of the logarithm as a fraction of the mean unmasked intensity.
    sharpening : float
        Of the Patterson map: ``w = |k|**sharpening``, tapered to 0 at the edge of the view.
        The larger it is, the sharper the spots, and the more small disks count beside large ones.
    softness : float
        The Patterson map P becomes ``arcsinh(P / (softness * deviation))``.
    oversampling : int
        Points of the Patterson map for each pixel of the view; the map reaches to pi / pitch.
    map_size : int or None
        Rows and columns kept of the Patterson map, counted from distance 0; None keeps all.
    radial_rows : int
        Rows added below the Patterson map: the radial average of the intensity, drawn over the view's
        pixels again, as many rows from the beam on; the logarithm of it times ``|k|**sharpening``. The form
        factor stands there as it is, where in the map it is a spot of few points at the origin.
    """

    crop: int | None = None
    center_half_width: float = 5.0
    intensity: Literal["log", "linear", "patterson"] = "log"
    log_offset: float = 1e-5
    sharpening: float = 2.0
    softness: float = 0.3
    oversampling: int = 1
    map_size: int | None = None
    radial_rows: int = 0

    def __post_init__(self) -> None:
        if self.crop is not None and self.crop < SMALLEST_VIEW:
            raise ValueError(f"crop must be None or at least {SMALLEST_VIEW} pixels, not {self.crop}")
        if self.intensity not in ("log", "linear", "patterson"):
            raise ValueError(f"intensity must be 'log', 'linear' or 'patterson', not {self.intensity!r}")
        for name in ("log_offset", "softness"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not self.sharpening >= 0:
            raise ValueError(f"sharpening must be 0 or more, not {self.sharpening}")
        if self.radial_rows < 0:
            raise ValueError(f"radial_rows must be 0 or more, not {self.radial_rows}")
        if self.oversampling < 1 or (self.map_size is not None and self.map_size < SMALLEST_VIEW):
            raise ValueError(
                f"oversampling must be at least 1 and map_size None or at least {SMALLEST_VIEW}, "
                f"not {self.oversampling} and {self.map_size}"
            )

    @property
    def hash(self) -> str:
        """SHA-256 of the settings, in hexadecimal."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, eq=False)
class FrameGeometry:
    """Where the beam stands on a frame, and which pixels do not count.

    Parameters
    ----------
    shape : tuple of int
        Rows and columns of the raw frame.
    beam_center : tuple of float
        Row and column of k = 0; rounded to the nearest pixel for folding.
    mask : array of bool or None, shape `shape`
        True where a pixel is to be left out (as in the NeXus and silx convention).

    Raises
    ------
    ValueError
        If the mask has another shape than the frame, or too little of the frame is left
        around the beam to classify.
    """

    shape: tuple[int, int]
    beam_center: tuple[float, float] = (0.0, 0.0)
    mask: NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        shape = tuple(int(n) for n in self.shape)
        if len(shape) != 2:
            raise ValueError(f"a frame has two dimensions (rows, columns), not {len(shape)}: {self.shape}")
        object.__setattr__(self, "shape", shape)
        center = tuple(float(c) for c in self.beam_center)
        if len(center) != 2 or not all(math.isfinite(c) for c in center):
            raise ValueError(f"beam_center must be a finite (row, column), not {self.beam_center!r}")
        object.__setattr__(self, "beam_center", center)
        if self.mask is not None:
            mask = np.asarray(self.mask, dtype=bool)
            if mask.shape != shape:
                raise ValueError(
                    f"the mask has the shape {mask.shape}, the frames have {shape}: "
                    "give a mask with one entry per pixel of the detector, True where it is to be left out"
                )
            object.__setattr__(self, "mask", mask)

    @property
    def mask_hash(self) -> str:
        """SHA-256 of the user's mask, in hexadecimal; empty without a mask."""
        return "" if self.mask is None else hash_mask(self.mask)


def hash_mask(mask: ArrayLike) -> str:
    """Give the SHA-256 of a mask, in hexadecimal."""
    return hashlib.sha256(np.packbits(np.asarray(mask, dtype=bool)).tobytes()).hexdigest()


def prepare(
    frames: ArrayLike | Sequence[NDArray[Any]], settings: Preprocessing, geometry: FrameGeometry
) -> NDArray[np.float32]:
    """Turn raw frames into inputs of the network.

    Parameters
    ----------
    frames : array, shape (N, rows, columns) or (rows, columns), or sequence of N arrays
        Raw frames of any real dtype; negative values count as 0.
    settings : Preprocessing
    geometry : FrameGeometry

    Returns
    -------
    array, shape (N, views, view rows, view columns), float32
        N = 1 for a single frame; 1 or 2 views.

    Raises
    ------
    ValueError
        If the frames do not have the geometry's shape, or no view is left.
    """
    frames = _each(frames, geometry)
    inputs = np.zeros((len(frames), *view_shape(settings, geometry)), np.float32)
    if not frames:
        return inputs
    for number, fold in enumerate(_folds(geometry, settings)):
        pixels = np.maximum([fold.average(frame) for frame in frames], np.float32(0.0))
        views = inputs[:, number]
        if settings.intensity == "patterson":
            maps = _patterson_maps(pixels, fold, settings)
            for values, view, values_of_pixels in zip(maps, views, pixels, strict=True):
                view[: len(values)] = _standardize(_compress(values, settings))
                if settings.radial_rows:
                    view[len(values) :] = _standardize(_radial_image(values_of_pixels, fold, settings))
            continue
        for values, view in zip(pixels, views, strict=True):
            if settings.intensity == "log":
                values = np.log(values + _offset(values, settings))
            view[fold.valid] = _standardize(values)
    return inputs


def _each(frames: ArrayLike | Sequence[NDArray[Any]], geometry: FrameGeometry) -> list[NDArray[Any]]:
    """Give frames, or a single one, as a list of arrays of shape (rows, columns); none is copied."""
    each = [np.asarray(frame) for frame in frames] if isinstance(frames, Sequence) else np.asarray(frames)
    if isinstance(each, np.ndarray):
        each = [each] if each.ndim == 2 else list(each)
    for frame in each:
        if frame.shape != geometry.shape:
            raise ValueError(f"expected frames of {geometry.shape} pixels, got one of shape {frame.shape}")
    return each


def _standardize(values: NDArray[np.float32]) -> NDArray[np.float32]:
    centered = values - np.float32(values.mean(dtype=np.float64))  # exact, so a constant becomes 0
    deviation = _root_mean_square(centered)
    return centered / deviation if deviation > 0 else np.zeros_like(values)


def _root_mean_square(values: NDArray[np.float32]) -> np.float32:
    return np.sqrt(np.square(values).mean())  # not by BLAS: see `blas_threads`


def _offset(pixels: NDArray[np.float32], settings: Preprocessing) -> Any:
    """Give what is added to intensities before their logarithm is taken."""
    return max(settings.log_offset * pixels.mean(), np.finfo(np.float32).tiny)


def _patterson_maps(pixels: NDArray[np.float32], fold: _Fold, settings: Preprocessing) -> NDArray[np.float32]:
    """Compute the Patterson maps of a view of N frames, by its unmasked pixels, shape (N, pixels).

    Source: Patterson, Phys. Rev. 46, 372 (1934); sharpening after Lipson and Cochran, The
    Determination of Crystal Structures, 1966, chapter 7.
    """
    rows, columns = fold.valid.shape
    weights, rings = _pixel_weights(rows, columns, settings)
    full = np.zeros((len(pixels), *_map_points(fold.valid.shape, settings)), np.float32)
    gaps = _has_gaps(fold, settings)
    for values, whole in zip(pixels, full, strict=True):
        view = whole[:rows, :columns]
        view[fold.valid] = values
        if gaps:
            means = np.bincount(rings[fold.valid], values, minlength=rings.max() + 1)
            counts = np.bincount(rings[fold.valid], minlength=rings.max() + 1)
            view[~fold.valid] = (means / np.maximum(counts, 1))[rings[~fold.valid]]
        view *= weights
    workers = min(len(pixels), os.cpu_count() or 1)
    maps = dctn(full, type=1, axes=(1, 2), overwrite_x=True, workers=workers)
    return maps[:, : settings.map_size, : settings.map_size]


def _radial_image(pixels: NDArray[np.float32], fold: _Fold, settings: Preprocessing) -> NDArray[np.float32]:
    """Draw the weighted radial average over as many pixels as the Patterson map has columns."""
    rings = _rings(fold, settings)
    weighted = rings.averaging @ pixels
    level = weighted.mean()
    if not level > 0:
        return np.zeros(rings.shape, np.float32)
    return (rings.drawing @ np.log(weighted / level + RADIAL_OFFSET)).reshape(rings.shape)


@dataclass(frozen=True, eq=False)
class _Rings:
    """Rings of a view's unmasked pixels, a pixel wide, as linear maps.

    `averaging` takes the pixels to the weighted averages of the rings, `drawing` takes values of the
    rings to an image of `shape`, between two rings by interpolation.
    """

    averaging: csr_array
    drawing: csr_array
    shape: tuple[int, int]


@functools.lru_cache(maxsize=16)
def _rings(fold: _Fold, settings: Preprocessing) -> _Rings:
    """Work out the rings of a view, once."""
    rows, columns = fold.valid.shape
    distances, ring, counts = np.unique(
        _pixel_weights(rows, columns, settings)[1][fold.valid], return_inverse=True, return_counts=True
    )
    shares = (distances / distances[-1]) ** settings.sharpening / counts
    pixels = np.arange(ring.size)
    averaging = csr_array((shares[ring], (ring, pixels)), dtype=np.float32)

    points = _map_points(fold.valid.shape, settings)[1]
    shape = (settings.radial_rows, min(points, settings.map_size or points))
    edge = max(columns, settings.crop or columns) - 1.0
    places = np.hypot(np.arange(shape[0])[:, None], np.arange(shape[1])[None, :]) * edge / (shape[1] - 1)
    between = np.interp(places.ravel(), distances, np.arange(distances.size))
    inner = between.astype(np.intp)
    outer = np.minimum(inner + 1, distances.size - 1)
    image = np.arange(between.size)
    drawing = csr_array(
        (
            np.concatenate([1.0 - (between - inner), between - inner]),
            (np.concatenate([image, image]), np.concatenate([inner, outer])),
        ),
        shape=(between.size, distances.size),
        dtype=np.float32,
    )
    return _Rings(averaging, drawing, shape)


@functools.lru_cache(maxsize=16)
def _has_gaps(fold: _Fold, settings: Preprocessing) -> bool:
    """Tell whether masked pixels that count in the Patterson map are to be filled."""
    weights, _ = _pixel_weights(*fold.valid.shape, settings)
    return not fold.valid[weights > 0].all()


def _compress(values: NDArray[np.float32], settings: Preprocessing) -> NDArray[np.float32]:
    deviation = _root_mean_square(values - values.mean())
    return np.arcsinh(values / (settings.softness * deviation)) if deviation > 0 else values


def _map_points(shape: tuple[int, int], settings: Preprocessing) -> tuple[int, int]:
    """Points of the whole Patterson map: a frame that ends before the crop gives as many."""
    height, width = (settings.oversampling * (max(n, settings.crop or n) - 1) + 1 for n in shape)
    return height, width


@functools.lru_cache(maxsize=16)
def _pixel_weights(
    rows: int, columns: int, settings: Preprocessing
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Give weight, and rounded distance from the beam, of each pixel of a view.

    The weight rises with a power of |k|, is tapered to 0 at the edge, and is 0 in the blocked centre.
    """
    i, j = np.arange(rows), np.arange(columns)
    k = np.hypot(i[:, None], j[None, :])
    taper = np.outer(np.cos(0.5 * np.pi * i / rows) ** 2, np.cos(0.5 * np.pi * j / columns) ** 2)
    blocked = np.outer(i <= settings.center_half_width, j <= settings.center_half_width)
    weights = np.where(blocked, 0.0, (k / max(rows, columns)) ** settings.sharpening * taper)
    return weights.astype(np.float32), np.rint(k).astype(np.intp)


def view_shape(settings: Preprocessing, geometry: FrameGeometry) -> tuple[int, int, int]:
    """Give (views, rows, columns) of what :func:`prepare` makes of a frame.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    folds = _folds(geometry, settings)
    rows, columns = folds[0].valid.shape
    if settings.intensity == "patterson":
        limit = settings.map_size
        rows, columns = (
            n if limit is None else min(n, limit) for n in _map_points((rows, columns), settings)
        )
        rows += settings.radial_rows
    return len(folds), rows, columns


def map_spacing(settings: Preprocessing, geometry: FrameGeometry, pitch: float) -> tuple[float, float]:
    """Give the distance between disks that one row, and one column, of the Patterson map stands for.

    Point m of n along an axis is at ``m * pi / (pitch * (n - 1))``, n counted before `map_size`.

    Parameters
    ----------
    settings : Preprocessing
    geometry : FrameGeometry
    pitch : float
        Wave number per pixel of the detector.

    Returns
    -------
    tuple of float
        In the unit of length whose inverse the pitch is in.

    Raises
    ------
    ValueError
        If the pitch is not positive, or too little of the frame is left around the beam to classify.
    """
    if not pitch > 0:
        raise ValueError(f"pitch must be a positive wave number per pixel, not {pitch}")
    height, width = _map_points(_folds(geometry, settings)[0].valid.shape, settings)
    return math.pi / (pitch * (height - 1)), math.pi / (pitch * (width - 1))


def settings_from_dict(values: dict[str, Any]) -> Preprocessing:
    """Make settings again from what a bundle stores.

    Raises
    ------
    ValueError
        If a key is unknown, as it is when the bundle was made by a newer version.
    """
    unknown = sorted(set(values) - set(Preprocessing.__dataclass_fields__))
    if unknown:
        raise ValueError(f"unknown preprocessing settings {unknown}: the bundle needs a newer speckle_plugin")
    return Preprocessing(**values)


@dataclass(frozen=True, eq=False)
class _Fold:
    """One quadrant: where each of its unmasked pixels is found on the frame, once or twice."""

    valid: NDArray[np.bool_]
    first: NDArray[np.intp]
    second: NDArray[np.intp]

    def average(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        flat = frame.reshape(-1)
        values = flat.take(self.first).astype(np.float32, copy=False)
        if self.second is not self.first:
            values = (values + flat.take(self.second).astype(np.float32, copy=False)) * np.float32(0.5)
        return values


@functools.lru_cache(maxsize=16)
def usable_pixels(geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.bool_]:
    """Tell which pixels of a raw frame the network sees, shape `geometry.shape`.

    Those outside of the crop, in the user's mask or in the blocked centre, it does not see.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.

    See Also
    --------
    used_values : their values
    """
    seen = np.zeros(geometry.shape, bool)
    for fold in _folds(geometry, settings):
        seen.reshape(-1)[fold.first] = True
        seen.reshape(-1)[fold.second] = True
    return seen


def used_values(frame: NDArray[Any], geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.float32]:
    """Give the values of a raw frame that the network sees, one-dimensional, in no special order.

    Parameters
    ----------
    frame : array, shape `geometry.shape`
    geometry : FrameGeometry
    settings : Preprocessing

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    return frame.reshape(-1).take(_used_places(geometry, settings)).astype(np.float32, copy=False)


@functools.lru_cache(maxsize=16)
def _used_places(geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.intp]:
    return np.flatnonzero(usable_pixels(geometry, settings))


def _unmasked(geometry: FrameGeometry, settings: Preprocessing) -> NDArray[np.bool_]:
    """Tell which pixels are outside of the user's mask and the blocked centre."""
    rows, columns = geometry.shape
    near_row = np.abs(np.arange(rows) - geometry.beam_center[0]) <= settings.center_half_width
    near_column = np.abs(np.arange(columns) - geometry.beam_center[1]) <= settings.center_half_width
    usable = ~(near_row[:, None] & near_column[None, :])
    return usable if geometry.mask is None else usable & ~geometry.mask


@functools.lru_cache(maxsize=16)
def _folds(geometry: FrameGeometry, settings: Preprocessing) -> tuple[_Fold, ...]:
    """Work out the views of a geometry, once."""
    rows, columns = geometry.shape
    row, column = (math.floor(c + 0.5) for c in geometry.beam_center)
    usable = _unmasked(geometry, settings)
    limit = settings.crop or max(rows, columns)
    height = min(limit, max(rows - row, row + 1))
    width = min(limit, max(columns - column, column + 1))
    folds = []
    if 0 <= row < rows and 0 <= column < columns and min(height, width) >= SMALLEST_VIEW:
        i, j = np.arange(height)[:, None], np.arange(width)[None, :]
        for sign in (1, -1):
            fold = _fold(usable, row + i, column + sign * j, row - i, column - sign * j)
            if fold.valid.mean() >= SMALLEST_VALID_FRACTION:
                folds.append(fold)
    if not folds:
        raise ValueError(
            f"too little of the frame is left to classify: {geometry.shape} pixels with the beam at "
            f"{geometry.beam_center} and {int(usable.sum())} unmasked pixels; expected the beam on the "
            f"detector, at least {SMALLEST_VIEW} pixels beside it and a quarter of them unmasked"
        )
    return tuple(folds)


def _fold(usable: NDArray[np.bool_], i: Any, j: Any, opposite_i: Any, opposite_j: Any) -> _Fold:
    rows, columns = usable.shape

    def locate(r: Any, c: Any) -> tuple[NDArray[np.bool_], NDArray[np.intp]]:
        r, c = np.broadcast_arrays(r, c)
        inside = (r >= 0) & (r < rows) & (c >= 0) & (c < columns)
        index = np.where(inside, r * columns + c, 0)
        return inside & usable.reshape(-1)[index], index

    here, index = locate(i, j)
    there, opposite = locate(opposite_i, opposite_j)
    valid = here | there
    first = np.where(here, index, opposite)[valid]
    second = np.where(there, opposite, index)[valid]
    return _Fold(valid, first, first if np.array_equal(first, second) else second)
