"""Frames of another k step than a network was trained on, on pixels of the network's.

A detector's k step is given by wavelength, distance and pixel size, and a network knows one. Where they
differ by little, the intensity is interpolated between the pixels by Lanczos' kernel along rows and columns:
the intensity of a finite sample has no frequencies beyond its size, and linear interpolation would damp those
of distant disks. Onto coarser pixels the kernel is as much wider. What it costs is in docs/results.md.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.prepare import view_shape
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["LARGEST_CHANGE", "SAME_K_STEP", "Resampling", "resampling_to"]

SAME_K_STEP = 0.01
"""Relative difference of two k steps up to which they count as one."""

LARGEST_CHANGE = 0.3
"""The same, up to which frames are resampled."""

LOBES = 4
"""Of the kernel, on each side."""

MOST_MASKED = 0.25
"""A new pixel of which a larger part (of the sum of the weights' magnitudes) is masked, is masked itself."""


@dataclass(frozen=True, eq=False)
class Resampling:
    """How frames of one geometry are resampled about the beam.

    Parameters
    ----------
    geometry : FrameGeometry
        Of the new frames; the beam is in the middle of a pixel.
    rows, columns : csr_array, shape (new, old)
        Weights of the old pixels along each axis.
    used : array of float32, shape (old rows, old columns), or None
        0 where an old pixel is masked; None without a mask.
    weight : array of float32, shape `geometry.shape`, or None
        Part of each new pixel that comes from unmasked ones.
    """

    geometry: FrameGeometry
    rows: csr_array
    columns: csr_array
    used: NDArray[np.float32] | None
    weight: NDArray[np.float32] | None

    def __call__(self, frame: NDArray[Any]) -> NDArray[np.float32]:
        """Resample a frame, shape (old rows, old columns); what is not finite counts as it is."""
        values = frame.astype(np.float32)
        if self.used is None or self.weight is None:
            return _along(self.rows, self.columns, values)
        known = np.where(self.used > 0, values, np.float32(0))
        mean = _along(self.rows, self.columns, known) / np.maximum(self.weight, np.float32(0.1))
        return np.asarray(mean, np.float32)


@functools.lru_cache(maxsize=16)
def resampling_to(
    known: float, k_step: float, geometry: FrameGeometry, settings: Preprocessing
) -> Resampling | None:
    """Give how frames are brought to a network's k step.

    Parameters
    ----------
    known, k_step : float
        Wave number per pixel that the network was trained on, and that of the frames.
    geometry : FrameGeometry
        Of the frames.
    settings : Preprocessing
        Its crop says how much of them is needed.

    Returns
    -------
    Resampling or None
        None where the k steps are the same, or differ too much, or too little would be left.
    """
    change = abs(k_step / known - 1.0)
    if not SAME_K_STEP < change <= LARGEST_CHANGE * (1 + 1e-6):
        return None
    axes = [
        _axis(n, center, known / k_step, settings.crop)
        for n, center in zip(geometry.shape, geometry.beam_center, strict=True)
    ]
    (rows, row), (columns, column) = axes
    shape = rows.shape[0], columns.shape[0]
    if not all(shape):
        return None
    used = weight = mask = None
    if geometry.mask is not None:
        used = (~geometry.mask).astype(np.float32)
        weight = _along(rows, columns, used)
        masked = _along(abs(rows), abs(columns), 1 - used)
        mask = masked > MOST_MASKED
    resampled = FrameGeometry(shape, (row, column), mask)
    try:
        view_shape(settings, resampled)
    except ValueError:
        return None
    return Resampling(resampled, rows, columns, used, weight)


def _axis(count: int, center: float, factor: float, crop: int | None) -> tuple[csr_array, float]:
    """Give the weights of the old pixels of an axis, each new one `factor` old ones wide, and the centre."""
    middle = math.floor((center + 0.5) / factor)
    first, last = 0, math.floor((count - 0.5 - center) / factor) + middle
    if crop is not None:
        first, last = max(first, middle - crop + 1), min(last, middle + crop - 1)
    places = center + (np.arange(first, last + 1) - middle) * factor
    width = max(1.0, factor)
    reach = math.ceil(LOBES * width)
    old = np.floor(places)[:, None] + np.arange(1 - reach, reach + 1)[None, :]
    distance = (old - places[:, None]) / width
    weights = np.where(np.abs(distance) < LOBES, np.sinc(distance) * np.sinc(distance / LOBES), 0.0)
    weights[(old < 0) | (old > count - 1)] = 0.0
    weights /= weights.sum(axis=1, keepdims=True)
    new = np.broadcast_to(np.arange(len(places))[:, None], old.shape)
    kept = weights != 0
    matrix = csr_array(
        (weights[kept].astype(np.float32), (new[kept], old[kept].astype(np.intp))),
        shape=(len(places), count),
    )
    return matrix, float(middle - first)


def _along(rows: csr_array, columns: csr_array, values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.ascontiguousarray((columns @ (rows @ values).T).T)
