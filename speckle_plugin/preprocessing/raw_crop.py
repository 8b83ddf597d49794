"""Frames as they are, cropped and scaled: what imported networks may have been trained on."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.geometry import FrameGeometry
from speckle_plugin.preprocessing.settings import Preprocessing
from speckle_plugin.typed_values import typed_values

__all__ = ["SCALINGS", "RawCrop", "crop_of", "prepare_crop", "settings_from_dict"]

SCALINGS = ("none", "log", "standardize")


@dataclass(frozen=True)
class RawCrop(Preprocessing):
    """Settings of an imported network that sees the raw frame; the other settings are without meaning.

    Parameters
    ----------
    scaling : {"none", "log", "standardize"}
        The intensities as they are; the logarithm of 1 + intensity, negative ones counting as 0; or to zero
        mean and unit variance. Masked pixels become 0.
    rows, columns : int or None
        Size of the crop, around the beam as far as the frame reaches; None for the whole frame.
    """

    center_half_width: float = -1.0
    scaling: Literal["none", "log", "standardize"] = "none"
    rows: int | None = None
    columns: int | None = None

    def __post_init__(self) -> None:
        if self.scaling not in SCALINGS:
            raise ValueError(f"scaling must be one of {', '.join(SCALINGS)}, not {self.scaling!r}")


def crop_of(geometry: FrameGeometry, settings: RawCrop) -> tuple[slice, slice]:
    """Give the rows and columns of a frame that are seen.

    The beam is in the middle, or as near to it as the frame allows: with the beam in a corner, the crop
    begins there.

    Raises
    ------
    ValueError
        If the frame is smaller than the crop, or wholly masked in it.
    """
    found = []
    for size, wanted, center in zip(
        geometry.shape, (settings.rows, settings.columns), geometry.beam_center, strict=True
    ):
        wanted = wanted or size
        if wanted > size:
            raise ValueError(
                f"the network sees {settings.rows} x {settings.columns} pixels, and the frames have "
                f"{geometry.shape[0]} x {geometry.shape[1]}: expected frames at least as large"
            )
        first = math.floor(center + 0.5) - wanted // 2
        first = min(max(first, 0), size - wanted)
        found.append(slice(first, first + wanted))
    rows, columns = found
    if geometry.mask is not None and geometry.mask[rows, columns].all():
        raise ValueError("the mask leaves nothing of what the network sees")
    return rows, columns


def prepare_crop(
    frames: list[NDArray[Any]], settings: RawCrop, geometry: FrameGeometry
) -> NDArray[np.float32]:
    """Make inputs of shape (N, 1, rows, columns), float32, of raw frames."""
    rows, columns = crop_of(geometry, settings)
    shape = rows.stop - rows.start, columns.stop - columns.start
    inputs = np.zeros((len(frames), 1, *shape), np.float32)
    seen = np.ones(shape, bool) if geometry.mask is None else ~geometry.mask[rows, columns]
    for frame, view in zip(frames, inputs, strict=True):
        values = frame[rows, columns][seen].astype(np.float32)
        if settings.scaling == "log":
            values = np.log1p(np.maximum(values, np.float32(0.0)))
        elif settings.scaling == "standardize":
            values = (values - values.mean()) / max(float(values.std()), np.finfo(np.float32).tiny)
        view[0][seen] = values
    return inputs


def settings_from_dict(values: dict[str, Any]) -> Preprocessing:
    """Make settings again from what a bundle stores.

    Raises
    ------
    ValueError
        If a key is unknown, as it is when the bundle was made by a newer version.
    """
    kind = RawCrop if "scaling" in values else Preprocessing
    unknown = sorted(set(values) - set(kind.__dataclass_fields__))
    if unknown:
        raise ValueError(f"unknown preprocessing settings {unknown}: the bundle needs a newer speckle_plugin")
    return typed_values(kind, values)
