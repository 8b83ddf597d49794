"""Simulated frames by recipe: an endless stream for training, fixed sets for tests.

Every frame has a seed of its own, made from the recipe's seed, the name of the stream
and a running index, so that a stream can be entered anywhere and made again.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from simulated_devices import PixelGrid, draw_system, grid_by_name, intensity
from training.recipe import FrameRecipe

__all__ = ["balanced_set", "draw_frame", "stream"]


def draw_frame(
    recipe: FrameRecipe, disk_number: int, rng: np.random.Generator, grid: PixelGrid
) -> NDArray[np.float32]:
    """Draw one frame, shape `grid.shape`, float32."""
    family = recipe.families[rng.integers(len(recipe.families))]
    frame = intensity(draw_system(family, disk_number, rng), grid)
    if recipe.photons:
        least, most = (math.log(p) for p in recipe.photons)
        frame = rng.poisson(frame * (math.exp(rng.uniform(least, most)) / frame.sum()))
    return frame.astype(np.float32)


def stream(
    recipe: FrameRecipe, seed: int, purpose: str, start: int = 0
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield (frame, disk number) for ever, from the frame with the index `start` on."""
    grid = grid_by_name(recipe.grid, recipe.size)
    index = start
    while True:
        rng = _generator(seed, purpose, index)
        disk_number = recipe.disk_numbers[rng.integers(len(recipe.disk_numbers))]
        yield draw_frame(recipe, disk_number, rng, grid), disk_number
        index += 1


def balanced_set(
    recipe: FrameRecipe, per_class: int, seed: int, purpose: str
) -> Iterator[tuple[NDArray[np.float32], int]]:
    """Yield (frame, disk number), `per_class` for each disk number, one class after the other."""
    grid = grid_by_name(recipe.grid, recipe.size)
    for disk_number in recipe.disk_numbers:
        for index in range(per_class):
            rng = _generator(seed, purpose, index, disk_number)
            yield draw_frame(recipe, disk_number, rng, grid), disk_number


def _generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *index])
