"""From drawn frames to the network's inputs, for any backend."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing import prepare, view_shape
from training.frames import DrawnFrame, frame_geometry
from training.recipe import TrainingRecipe

__all__ = ["Source", "prepared_inputs", "view_shape_of"]

Source = Callable[[int], Iterator[DrawnFrame]]
"""Gives training frames, from the one with an index on."""


def prepared_inputs(
    recipe: TrainingRecipe, frames: Iterable[DrawnFrame]
) -> Generator[tuple[NDArray[np.float32], int], None, None]:
    """Give network inputs (rows, columns, 1) and class indices; a view for each quadrant of a frame."""
    index = {n: i for i, n in enumerate(recipe.frames.disk_numbers)}
    for frame, geometry, disk_number in frames:
        for view in prepare(frame, recipe.preprocessing, geometry)[0]:
            yield view[..., None], index[disk_number]


def view_shape_of(recipe: TrainingRecipe, source: Source | None = None) -> tuple[int, int, int]:
    """Give (views, rows, columns) of what a training frame becomes."""
    geometry = frame_geometry(recipe.frames) if source is None else next(source(0)).geometry
    return view_shape(recipe.preprocessing, geometry)
