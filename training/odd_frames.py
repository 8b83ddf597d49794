"""Odd frames, such as no bundle is made for: to fit what tells them, and to see how well it does.

Each way to be odd draws how odd a frame is, too. The kinds of :mod:`training.evaluation.unknowns` are fixed
cases from the same range, of other seeds.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, Family, PixelGrid, Shape, World, draw_intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.schema import Flag
from training.recipe import FrameRecipe

__all__ = ["ODD_FRAMES", "as_integers", "draw_odd", "family_of"]

Frame = NDArray[np.floating]
Draw = Callable[[FrameRecipe, PixelGrid, np.random.Generator], Frame]


def family_of(recipe: FrameRecipe, rng: np.random.Generator) -> str:
    """Draw one of a recipe's families by its share."""
    shares = np.asarray(recipe.shares or [1.0] * len(recipe.families))
    return str(rng.choice(recipe.families, p=shares / shares.sum()))


def _intensity(
    recipe: FrameRecipe,
    grid: PixelGrid,
    rng: np.random.Generator,
    world: World | None = None,
    numbers: tuple[int, ...] = (),
    family: str = "",
) -> NDArray[np.float64]:
    number = int(rng.choice(numbers or recipe.disk_numbers))
    return draw_intensity(world or World(), family or family_of(recipe, rng), number, grid, rng)


def _photons(recipe: FrameRecipe, rng: np.random.Generator) -> float | None:
    """Draw how many photons a frame has: none for half of them, which have no noise."""
    if not recipe.photons or rng.random() < 0.5:
        return None
    return float(np.exp(rng.uniform(*np.log(recipe.photons))))


def _noisy(recipe: FrameRecipe, frame: Frame, rng: np.random.Generator) -> Frame:
    photons = _photons(recipe, rng)
    return frame if photons is None else rng.poisson(frame * (photons / frame.sum())).astype(float)


def _log_uniform(rng: np.random.Generator, least: float, most: float) -> float:
    return float(np.exp(rng.uniform(math.log(least), math.log(most))))


def _number(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    first, last = recipe.disk_numbers[0], recipe.disk_numbers[-1]
    below = tuple(range(1, first)) if rng.random() < 0.25 else ()
    more = tuple(range(last + 1, last + 6)) if rng.random() < 0.8 else tuple(range(last + 6, last + 16))
    return _noisy(recipe, _intensity(recipe, grid, rng, numbers=below or more), rng)


def _k_step(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    factor = rng.uniform(0.4, 0.8) if rng.random() < 0.5 else rng.uniform(1.25, 2.0)
    return _noisy(recipe, _intensity(recipe, replace(grid, pitch=grid.pitch * factor), rng), rng)


def _pixels(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    frame = _noisy(recipe, _intensity(recipe, grid, rng), rng).reshape(-1)
    if rng.random() < 0.6:
        hot = rng.integers(frame.size, size=max(1, int(frame.size * _log_uniform(rng, 3e-5, 3e-3))))
        frame[hot] = frame.mean() * _log_uniform(rng, 3.0, 300.0)
    else:
        frame[rng.random(frame.size) < _log_uniform(rng, 1e-3, 0.1)] = 0.0
    return frame.reshape(grid.shape)


def _lines(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    frame = _noisy(recipe, _intensity(recipe, grid, rng), rng)
    lines = frame if rng.random() < 0.5 else frame.T
    kind = rng.integers(3)
    if kind == 0:
        lines[rng.integers(len(lines), size=int(rng.integers(2, 13)))] = 0.0
    elif kind == 1:
        gain = _log_uniform(rng, 1.3, 5.0) ** rng.choice([-1.0, 1.0])
        lines[int(rng.integers(16, len(lines) - 16)) :] *= gain
    else:
        start = int(rng.integers(16, len(lines) - 16))
        lines[start : start + int(rng.integers(2, 12))] = 0.0
    return frame


def _beam(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    off = rng.uniform(2.0, 12.0, 2) * rng.choice([-1.0, 1.0], 2)
    if rng.random() < 0.3:
        off[rng.integers(2)] = 0.0
    row, column = np.add(grid.beam_center, off)
    moved = replace(grid, beam_center=(float(row), float(column)))
    return _noisy(recipe, _intensity(recipe, moved, rng), rng)


def _contrast(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    kind = rng.integers(4)
    if kind == 0:
        response = DetectorResponse(point_spread=_log_uniform(rng, 0.7, 3.0), photons=_photons(recipe, rng))
        return response.respond(_intensity(recipe, grid, rng), rng)
    if kind == 1:
        world = World(motion=_log_uniform(rng, 30.0, 500.0))
    else:
        world = World(coherence_length=_log_uniform(rng, 200.0, 1500.0))
    return _noisy(recipe, _intensity(recipe, grid, rng, world), rng)


def _noise(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    frame = _intensity(recipe, grid, rng)
    photons = _log_uniform(rng, 1e5, 3e6)
    kind = rng.integers(4)
    if kind == 0:
        return DetectorResponse(photons=photons, readout_noise=_log_uniform(rng, 0.3, 10.0)).respond(
            frame, rng
        )
    if kind == 1:  # readout noise, cut off at 0 and rounded
        noisy = DetectorResponse(photons=photons, readout_noise=_log_uniform(rng, 0.7, 10.0))
        return np.maximum(np.rint(noisy.respond(frame, rng)), 0.0)
    if kind == 2:  # a flat background
        share = photons / frame.sum() * frame
        return rng.poisson(share + _log_uniform(rng, 0.2, 10.0)).astype(float)
    level = _log_uniform(rng, 3.0, 50.0)
    return DetectorResponse(photons=photons, saturation_level=level).respond(frame, rng)


def _shape(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    others = [family.value for family in Family if family.value not in recipe.families]
    kind = rng.integers(5)
    if kind == 0 and others:
        frame = _intensity(recipe, grid, rng, family=str(rng.choice(others)))
    else:
        shape = Shape.SQUARE if kind in (1, 2) else Shape.SPHERE
        frame = _intensity(recipe, grid, rng, World(shape=shape))
    return _noisy(recipe, frame, rng)


INTEGERS = 0.3
"""Share of frames without noise that come as integers, as simulations are often stored."""

BLOCKED = 5
"""Pixels about the beam that are brighter than integers of 16 bits hold, where the rest is well seen."""


def as_integers(frame: Frame, grid: PixelGrid, rng: np.random.Generator) -> Frame:
    """Give some of the frames without noise as integers of 16 bits, cut off or rounded; others as they are.

    They have the steps of photons, and not their noise. Frames that have noise, or negative values, stay.
    """
    if rng.random() >= INTEGERS or frame.min() < 0 or np.array_equal(frame, np.rint(frame)):
        return frame
    largest = frame[FrameGeometry(grid.shape, grid.beam_center).unmasked(BLOCKED)].max()
    scaled = frame * (_log_uniform(rng, 3e3, 65535.0) / largest)
    return np.minimum(np.rint(scaled) if rng.random() < 0.5 else np.floor(scaled), 65535.0)


ODD_FRAMES: dict[Flag, Draw] = {
    Flag.ODD_NUMBER: _number,
    Flag.ODD_K_STEP: _k_step,
    Flag.ODD_PIXELS: _pixels,
    Flag.ODD_LINES: _lines,
    Flag.ODD_BEAM: _beam,
    Flag.ODD_CONTRAST: _contrast,
    Flag.ODD_NOISE: _noise,
    Flag.ODD_SHAPE: _shape,
}
"""Ways to be odd."""


def draw_odd(
    flag: Flag, recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator
) -> NDArray[np.float32]:
    """Draw a frame that is odd in one way, shape `grid.shape`."""
    return as_integers(ODD_FRAMES[flag](recipe, grid, rng), grid, rng).astype(np.float32)
