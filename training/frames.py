"""Simulated frames by recipe: a stream for training, fixed sets for validation and test.

Every frame has a seed of its own, made from the recipe's seed, the name of the stream
and a running index, so that a stream can be entered anywhere and made again.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, PixelGrid, World, draw_intensity, grid_by_name
from simulated_devices.detector_response import share_charge
from speckle_plugin.preprocessing import FrameGeometry
from training.recipe import FrameRecipe

__all__ = [
    "DrawnFrame",
    "balanced_set",
    "draw_frame",
    "frame_geometry",
    "generator",
    "stream",
    "with_beam_stop",
]

DEAD_FRACTION = 0.02
"""Most single pixels masked of a frame that is masked in part."""

WIDEST_BAR = 0.06
"""Widest bar masked, in parts of the frame's edge."""


BEAM_STOPS = (2, 9)
"""Least and most of the distance from the beam to the edge of a beam stop, in pixels: larger ones are odd."""


class DrawnFrame(NamedTuple):
    """A frame, what is known of its geometry (not the offset of its beam), and its disk number."""

    frame: NDArray[np.float32]
    geometry: FrameGeometry
    disk_number: int


def frame_geometry(recipe: FrameRecipe) -> FrameGeometry:
    """Geometry of a recipe's frames, as far as they are not masked in part."""
    grid = grid_by_name(recipe.grid, recipe.size)
    return FrameGeometry(grid.shape, grid.beam_center)


def draw_frame(
    recipe: FrameRecipe,
    disk_number: int,
    rng: np.random.Generator,
    grid: PixelGrid,
    geometry: FrameGeometry,
) -> DrawnFrame:
    """Draw one frame, shape `grid.shape`, float32."""
    shares = np.asarray(recipe.shares or [1.0] * len(recipe.families))
    family = recipe.families[rng.choice(len(shares), p=shares / shares.sum())]
    noisy, offset, masked = rng.random(3) < (recipe.noisy_share, recipe.offset_share, recipe.masked_share)
    if recipe.beam_offset and offset:
        shift = rng.uniform(-recipe.beam_offset, recipe.beam_offset, 2)
        row, column = np.add(grid.beam_center, shift)
        grid = replace(grid, beam_center=(float(row), float(column)))
    # Drawn only where it is wanted, so that the frames of other recipes stay what they were.
    real = recipe.is_real and rng.random() < recipe.real_share
    frame = draw_intensity(_draw_world(recipe, rng) if real else World(), family, disk_number, grid, rng)
    if recipe.photons and noisy:
        least, most = (math.log(p) for p in recipe.photons)
        frame = rng.poisson(frame * (math.exp(rng.uniform(least, most)) / frame.sum()))
        if real and recipe.charge_sharing:
            frame = share_charge(frame.astype(float), rng.uniform(0.0, recipe.charge_sharing))
    if real and recipe.panel_gap:
        gaps = DetectorResponse(panel_size=recipe.panel_size, panel_gap=recipe.panel_gap).gaps(grid.shape)
        frame = np.where(gaps, 0.0, frame)
        geometry = replace(geometry, mask=gaps)
    if masked:
        mask = _draw_mask(grid.shape, rng)
        geometry = replace(geometry, mask=mask if geometry.mask is None else mask | geometry.mask)
    return DrawnFrame(frame.astype(np.float32), geometry, disk_number)


def _draw_world(recipe: FrameRecipe, rng: np.random.Generator) -> World:
    def drawn(span: tuple[float, ...]) -> float | None:
        return float(np.exp(rng.uniform(*np.log(span)))) if span else None

    return World(
        shape=recipe.shape,
        coherence_length=drawn(recipe.coherence_length),
        beam_width=drawn(recipe.beam_width),
        motion=rng.uniform(0.0, recipe.motion) if recipe.motion else 0.0,
    )


def _draw_mask(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.bool_]:
    mask = rng.random(shape) < rng.uniform(0.0, DEAD_FRACTION)
    if rng.random() < 0.5:
        along = int(rng.integers(2))
        width = max(1, int(rng.uniform(0.0, WIDEST_BAR) * shape[along]))
        start = int(rng.integers(shape[along] - width))
        bar = np.moveaxis(mask, along, 0)
        bar[start : start + width] = True
    return mask


def with_beam_stop(geometry: FrameGeometry, rng: np.random.Generator) -> FrameGeometry:
    """Give a geometry whose mask leaves out a beam stop, too: a disk or a square about the beam."""
    rows, columns = (np.arange(n) - c for n, c in zip(geometry.shape, geometry.beam_center, strict=True))
    half = rng.integers(BEAM_STOPS[0], BEAM_STOPS[1] + 1)
    distance = np.hypot if rng.random() < 0.5 else np.maximum
    stop = distance(np.abs(rows)[:, None], np.abs(columns)) <= half
    return replace(geometry, mask=stop if geometry.mask is None else geometry.mask | stop)


def stream(
    recipe: FrameRecipe,
    seed: int,
    purpose: str,
    start: int = 0,
    count: int | None = None,
    step: int = 1,
) -> Iterator[DrawnFrame]:
    """Yield frames for ever: those with the indices start, start + step, start + 2 step, ...

    Parameters
    ----------
    recipe : FrameRecipe
    seed, purpose
        Name the stream.
    start : int
        Index of the first frame.
    count : int, optional
        Go again and again through as many frames, balanced over the disk numbers, each time in
        another order; without it no frame comes twice.
    step : int
        Several machines share a stream by different `start` and a `step` of their number.
    """
    grid, geometry = grid_by_name(recipe.grid, recipe.size), frame_geometry(recipe)
    index = start
    order, ordered = np.arange(0), -1
    while True:
        if count is None:
            rng = generator(seed, purpose, index)
            disk_number = recipe.disk_numbers[rng.integers(len(recipe.disk_numbers))]
        else:
            if ordered != index // count:
                ordered = index // count
                order = generator(seed, "order of " + purpose, ordered).permutation(count)
            drawn = int(order[index % count])
            rng = generator(seed, purpose, drawn)
            disk_number = recipe.disk_numbers[drawn % len(recipe.disk_numbers)]
        yield draw_frame(recipe, disk_number, rng, grid, geometry)
        index += step


def balanced_set(recipe: FrameRecipe, per_class: int, seed: int, purpose: str) -> Iterator[DrawnFrame]:
    """Yield frames, `per_class` for each disk number, one class after the other."""
    grid, geometry = grid_by_name(recipe.grid, recipe.size), frame_geometry(recipe)
    for disk_number in recipe.disk_numbers:
        for index in range(per_class):
            rng = generator(seed, purpose, index, disk_number)
            yield draw_frame(recipe, disk_number, rng, grid, geometry)


def generator(seed: int, purpose: str, *index: int) -> np.random.Generator:
    """Give the source of randomness of one frame of a named stream."""
    return np.random.default_rng([seed, zlib.crc32(purpose.encode()), *index])
