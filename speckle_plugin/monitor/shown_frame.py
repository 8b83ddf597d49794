"""One frame as the page shows it: thinned, with its mask, its probabilities and its solved sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.documents.descriptors import Detector, FrameSettings
from speckle_plugin.preprocessing import hash_mask
from speckle_plugin.preprocessing.marked_pixels import marked_pixels
from speckle_plugin.schema import CLASSES, MASKS, Opinion
from speckle_plugin.solving.rows import structure_of_row
from speckle_plugin.store import StoredRun
from speckle_plugin.store.read.images import StoredImages
from speckle_plugin.structure import Structure

__all__ = ["LARGEST_SIDE", "ShownFrame", "frame_and_mask", "show_frame", "thin"]

LARGEST_SIDE = 700
"""Pixels along the longer side of what goes to a browser."""

BYTES_TO_AVERAGE = 128 * 2**20
"""Of the frames that are averaged at most."""


@dataclass(frozen=True, eq=False)
class ShownFrame:
    """A frame, or the mean of several, for the page.

    Parameters
    ----------
    image_key : str
    frame_index : int
    averaged : int
        Frames whose mean is shown, this one and those before it.
    pixels : array, shape (rows, columns), float32
        Means of `factor` x `factor` pixels; NaN where all of them are masked or not finite.
    factor : int
    shape : (int, int)
        Of the frame itself.
    limits : (float, float)
        The range to show: the 2nd and the 99.9th percentile of what is above 0.
    masked : array of bool, shape of `pixels`
        Where most of the pixels are left out: by the session's mask, or by a mark of the detector.
    mask_note : str
        What is to be said of the mask: where it comes from, or that it is not here.
    beam_center : (row, column) or None
    probabilities : mapping of disk number to float
        Empty without a label.
    structure : Structure or None
        The second opinion.
    opinion : str
        What is to be said of it.
    """

    image_key: str
    frame_index: int
    averaged: int
    pixels: NDArray[np.float32]
    factor: int
    shape: tuple[int, int]
    limits: tuple[float, float]
    masked: NDArray[np.bool_]
    mask_note: str
    beam_center: tuple[float, float] | None
    probabilities: Mapping[int, float]
    structure: Structure | None
    opinion: str


def thin(values: NDArray[Any], factor: int) -> NDArray[np.float32]:
    """Give the means of `factor` x `factor` pixels, at the edges of fewer; what is not finite is left out."""
    values = np.asarray(values, np.float32)
    if factor == 1:
        return values
    rows, columns = (math.ceil(n / factor) for n in values.shape)
    missing = [(0, n * factor - have) for n, have in zip((rows, columns), values.shape, strict=True)]
    padded = np.pad(values, missing, constant_values=np.nan)
    blocks = padded.reshape(rows, factor, columns, factor)
    known = np.isfinite(blocks)
    count = known.sum(axis=(1, 3))
    total = np.where(known, blocks, 0.0).sum(axis=(1, 3), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, total / count, np.nan).astype(np.float32)


def frame_and_mask(
    stored: StoredRun,
    images: StoredImages,
    frame_index: int,
    masks: Mapping[str, NDArray[np.bool_]],
    averaged: int = 1,
) -> tuple[NDArray[Any], int, Detector, str]:
    """Read a frame, or the mean of it and of those before it, and what is known of its mask.

    Results tell masks by their SHA-256 only. One of the monitor's settings is taken if it is the same.

    Returns
    -------
    frame, frames averaged, detector, note on the mask
    """
    size = images.shape[0] * images.shape[1] * images.dtype.itemsize
    averaged = max(1, min(averaged, frame_index + 1, BYTES_TO_AVERAGE // max(1, size)))
    if averaged == 1:
        (frame,) = images.read([frame_index])
    else:
        total = np.zeros(images.shape, np.float64)
        for one in images.read(np.arange(frame_index - averaged + 1, frame_index + 1)):
            total += one
        frame = (total / averaged).astype(np.float32)
    settings, note = _settings(stored, images, masks)
    detector = images.describe(settings)
    return frame, averaged, detector, note


def _settings(
    stored: StoredRun, images: StoredImages, masks: Mapping[str, NDArray[np.bool_]]
) -> tuple[FrameSettings, str]:
    told = dict(entry.rsplit(" ", 1) for entry in stored.model.get(MASKS) or ())
    wanted = told.get(images.data_key)
    if wanted is None:
        return stored.settings, ""
    for mask in masks.values():
        if hash_mask(mask) == wanted:
            return replace(stored.settings, masks={images.data_key: mask}), "mask of the session"
    return stored.settings, f"the session's mask ({wanted[:8]}) is not in the settings of this monitor"


def show_frame(
    stored: StoredRun,
    image_key: str,
    frame_index: int,
    averaged: int = 1,
    masks: Mapping[str, NDArray[np.bool_]] | None = None,
) -> ShownFrame:
    """Read what the page shows of a frame.

    Parameters
    ----------
    stored : StoredRun
        Made anew, so that it knows the frame.
    image_key : str
    frame_index : int
    averaged : int
        Frames to average, the last of which is this one; fewer where they are large.
    masks : mapping of name to array of bool
        Those of the settings.

    Raises
    ------
    ValueError
        If there is no such frame.
    """
    images = stored.images_of(image_key)
    frame, averaged, detector, note = frame_and_mask(stored, images, frame_index, masks or {}, averaged)
    marked = marked_pixels(frame) if averaged == 1 else None
    left_out = np.zeros(frame.shape, bool) if marked is None else marked
    if detector.geometry is not None and detector.geometry.mask is not None:
        left_out = left_out | detector.geometry.mask
    if marked is not None:
        note = f"{note}; " * bool(note) + f"{np.count_nonzero(marked)} pixels marked by the detector"
    factor = math.ceil(max(frame.shape) / LARGEST_SIDE)
    with np.errstate(invalid="ignore"):
        values = np.where(np.isfinite(frame) & ~(marked if marked is not None else False), frame, np.nan)
    pixels = thin(values, factor)
    masked = thin(left_out, factor) > 0.5
    probabilities = stored.probabilities(image_key, frame_index) or []
    classes = stored.model.get(CLASSES) or stored.summary.get(CLASSES) or range(2, 2 + len(probabilities))
    structure, opinion = _structure(stored, image_key, frame_index)
    return ShownFrame(
        image_key,
        frame_index,
        averaged,
        pixels,
        factor,
        (frame.shape[0], frame.shape[1]),
        _limits(pixels),
        masked,
        note,
        detector.beam_center,
        dict(zip(map(int, classes), probabilities, strict=False)),
        structure,
        opinion,
    )


def _limits(pixels: NDArray[np.float32]) -> tuple[float, float]:
    positive = pixels[np.isfinite(pixels) & (pixels > 0)]
    if not positive.size:
        return 0.1, 1.0
    low, high = np.percentile(positive, [2, 99.9])
    return float(low), float(max(high, low * 1.001))


def _structure(stored: StoredRun, image_key: str, frame_index: int) -> tuple[Structure | None, str]:
    row = stored.structure_row(image_key, frame_index)
    if row is None:
        return None, ""
    if row["certificate"] == Opinion.LEFT:
        return None, f"left to be solved later: {row['reason']}"
    structure = structure_of_row(row, row["disks"])
    return structure, f"{structure.certificate.replace('_', ' ')}: {structure.reason}"
