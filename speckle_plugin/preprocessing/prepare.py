"""From a raw frame to the network's input: the one place where this is decided.

Training and inference both call :func:`prepare`; the settings travel in the model
bundle, and their hash in every result. A frame is symmetrized about the beam into quadrants
("views") that the network knows: one for a detector with the beam in its corner, two for
a detector with the beam inside, where I(k) = I(-k) pairs each pixel with a second copy.
The blocked centre and the user's mask are left out. Then either the intensity is scaled
and the unmasked pixels are standardized to zero mean and unit variance, masked pixels
becoming 0; or the view is turned into its Patterson map, the map of distances between
disks, which is compressed and standardized (see docs/decisions/0005-patterson-map.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.patterson import map_points, patterson_maps
from speckle_plugin.preprocessing.quadrants import quadrants
from speckle_plugin.preprocessing.radial import moment_images, radial_image
from speckle_plugin.preprocessing.raw_crop import RawCrop, crop_of, prepare_crop
from speckle_plugin.preprocessing.scaling import compress, log_offset_of, standardize
from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["frames_of", "prepare", "view_shape"]


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
    frames = frames_of(frames, geometry)
    if isinstance(settings, RawCrop):
        return prepare_crop(frames, settings, geometry)
    inputs = np.zeros((len(frames), *view_shape(settings, geometry)), np.float32)
    if not frames:
        return inputs
    for number, quadrant in enumerate(quadrants(geometry, settings)):
        pixels = np.maximum([quadrant.average(frame) for frame in frames], np.float32(0.0))
        views = inputs[:, number]
        if settings.intensity == "patterson":
            maps = patterson_maps(pixels, quadrant, settings)
            for values, view, values_of_pixels in zip(maps, views, pixels, strict=True):
                view[: len(values)] = standardize(compress(values, settings))
                if settings.radial_rows:
                    images = [radial_image(values_of_pixels, quadrant, settings)]
                    if settings.moments > 1:
                        images += moment_images(values_of_pixels, quadrant, settings)
                    view[len(values) :] = np.concatenate([standardize(image) for image in images])
            continue
        for values, view in zip(pixels, views, strict=True):
            if settings.intensity == "log":
                values = np.log(values + log_offset_of(values, settings))
            view[quadrant.valid] = standardize(values)
    return inputs


def frames_of(frames: ArrayLike | Sequence[NDArray[Any]], geometry: FrameGeometry) -> list[NDArray[Any]]:
    """Give frames, or a single one, as a list of arrays of shape (rows, columns); none is copied."""
    each = [np.asarray(frame) for frame in frames] if isinstance(frames, Sequence) else np.asarray(frames)
    if isinstance(each, np.ndarray):
        each = [each] if each.ndim == 2 else list(each)
    for frame in each:
        if frame.shape != geometry.shape:
            raise ValueError(f"expected frames of {geometry.shape} pixels, got one of shape {frame.shape}")
    return each


def view_shape(settings: Preprocessing, geometry: FrameGeometry) -> tuple[int, int, int]:
    """Give (views, rows, columns) of what :func:`prepare` makes of a frame.

    Raises
    ------
    ValueError
        If too little of the frame is left around the beam to classify.
    """
    if isinstance(settings, RawCrop):
        crop = crop_of(geometry, settings)
        return 1, *(part.stop - part.start for part in crop)
    found = quadrants(geometry, settings)
    rows, columns = found[0].valid.shape
    if settings.intensity == "patterson":
        limit = settings.map_size
        rows, columns = (n if limit is None else min(n, limit) for n in map_points((rows, columns), settings))
        rows += settings.radial_rows * settings.moments
    return len(found), rows, columns
