"""Frames that a bundle was not made for, to see whether it knows that it does not know them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, PixelGrid, Shape, World, draw_intensity, grid_by_name
from training.frames import DrawnFrame, frame_geometry, generator
from training.odd_frames import family_of
from training.recipe import FrameRecipe

__all__ = ["FAULTS", "FAULT_PHOTONS", "UNKNOWNS", "unknown_frames"]

FAULT_PHOTONS = 1e6
"""Photons in a frame of a detector with a fault; known frames beside which it is told have as many."""

Draw = Callable[[FrameRecipe, PixelGrid, np.random.Generator], NDArray[np.floating]]


def _system(
    recipe: FrameRecipe,
    grid: PixelGrid,
    rng: np.random.Generator,
    numbers: tuple[int, ...] = (),
    world: World | None = None,
) -> NDArray[np.float64]:
    disk_number = int(rng.choice(numbers or recipe.disk_numbers))
    return draw_intensity(world or World(), family_of(recipe, rng), disk_number, grid, rng)


def _one_disk(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    return _system(recipe, grid, rng, (1,))


def _other_numbers(first: int, last: int) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
        return _system(recipe, grid, rng, tuple(range(first, last + 1)))

    return draw


def _other_pitch(factor: float) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
        return _system(recipe, replace(grid, pitch=grid.pitch * factor), rng)

    return draw


def _other_grid(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    other = grid_by_name("quadrant" if recipe.grid == "published" else "published", 513)
    return _system(recipe, replace(grid, pitch=other.pitch), rng)


def _flat_noise(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    return rng.poisson(5.0, grid.shape).astype(np.float64)


def _speckle_noise(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    """Fully developed speckle of which each grain is one pixel, of the same mean everywhere."""
    return rng.exponential(1.0, grid.shape)


def _shuffled(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    frame = _system(recipe, grid, rng).reshape(-1)
    return rng.permutation(frame).reshape(grid.shape)


def _response(**settings: float) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.floating]:
        response = DetectorResponse(photons=FAULT_PHOTONS, defect_seed=int(rng.integers(1 << 30)), **settings)  # type: ignore[arg-type]
        return response.respond(_system(recipe, grid, rng), rng)

    return draw


def _dead_rows(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
    frame = _system(recipe, grid, rng)
    frame[rng.integers(grid.shape[0] // 2, size=8)] = 0.0
    return frame


def _gain_step(gain: float) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
        frame = _system(recipe, grid, rng)
        frame[:, int(rng.integers(20, grid.shape[1] // 3)) :] *= gain
        return frame

    return draw


def _beam_off(pixels: float) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
        row, column = np.add(grid.beam_center, rng.choice([-pixels, pixels], 2))
        return _system(recipe, replace(grid, beam_center=(float(row), float(column))), rng)

    return draw


def _in_world(world: World) -> Draw:
    def draw(recipe: FrameRecipe, grid: PixelGrid, rng: np.random.Generator) -> NDArray[np.float64]:
        return _system(recipe, grid, rng, world=world)

    return draw


FAULTS: dict[str, Draw] = {
    "hot pixels (1 of 1000)": _response(hot_fraction=1e-3, hot_level=1000.0),
    "dead pixels not masked (1 of 20)": _response(dead_fraction=0.05),
    "saturated at 20 counts": _response(saturation_level=20.0),
    "readout noise of 5 counts": _response(readout_noise=5.0),
    "blurred by 1.5 pixels": _response(point_spread=1.5),
}
"""Faults of a detector that counts photons, by name."""

UNKNOWNS: dict[str, Draw] = {
    "one disk": _one_disk,
    "21 to 25 disks": _other_numbers(21, 25),
    "26 to 35 disks": _other_numbers(26, 35),
    "pitch 1.5 times as large": _other_pitch(1.5),
    "pitch 0.5 times as large": _other_pitch(0.5),
    "pitch of the other grid": _other_grid,
    "flat Poisson noise": _flat_noise,
    "uncorrelated speckle": _speckle_noise,
    "pixels of a frame shuffled": _shuffled,
    **FAULTS,
    "eight dead rows": _dead_rows,
    "gain step of 3": _gain_step(3.0),
    "gain step of 1.5": _gain_step(1.5),
    "beam off by 3 pixels": _beam_off(3.0),
    "beam off by 10 pixels": _beam_off(10.0),
    "squares": _in_world(World(shape=Shape.SQUARE)),
    "spheres": _in_world(World(shape=Shape.SPHERE)),
    "coherence length 1000": _in_world(World(coherence_length=1000.0)),
    "coherence length 500": _in_world(World(coherence_length=500.0)),
}
"""Kinds of frames outside of what a bundle was trained on, by name."""


def unknown_frames(kind: str, recipe: FrameRecipe, count: int, seed: int) -> Iterator[DrawnFrame]:
    """Yield frames of one kind; the disk number, which means nothing here, is 0.

    Parameters
    ----------
    kind : str
        One of `UNKNOWNS`.
    recipe : FrameRecipe
        Whose families, grid and disk numbers the frames have, as far as the kind leaves them.
    count, seed : int
    """
    grid, geometry = grid_by_name(recipe.grid, recipe.size), frame_geometry(recipe)
    for index in range(count):
        rng = generator(seed, "unknown " + kind, index)
        yield DrawnFrame(UNKNOWNS[kind](recipe, grid, rng).astype(np.float32), geometry, 0)
