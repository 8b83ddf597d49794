"""How many frames of 257 x 257 one core simulates in a second, drawing the disks included.

Then what each effect of a less ideal world costs, beside a coherent beam on disks at rest. Run it with
``python benchmarks/simulator.py``.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from simulated_devices import World, draw_intensity, draw_system, intensity, quadrant

SECONDS = 2.0
REPEATS = 3
FAMILY, DISK_NUMBER = "poly", 11

WORLDS: dict[str, Callable[[np.random.Generator], World]] = {
    "ideal": lambda rng: World(),
    "beam width 700": lambda rng: World(beam_width=700.0),
    "coherence length 1000": lambda rng: World(coherence_length=1000.0),
    "coherence length 500 to 5000": lambda rng: World(coherence_length=float(rng.uniform(500.0, 5000.0))),
    "motion 100": lambda rng: World(motion=100.0),
    "spheres": lambda rng: World(shape="sphere"),
    "squares": lambda rng: World(shape="square"),
}


def frames_per_second(simulate: Callable[[], object]) -> float:
    """Give the best rate of some repeats, in processor time, so that other work counts little."""
    simulate()  # compiles, and fills the tables
    best = 0.0
    for _ in range(REPEATS):
        frames, started = 0, time.process_time()
        while (elapsed := time.process_time() - started) < SECONDS / REPEATS:
            simulate()
            frames += 1
        best = max(best, frames / elapsed)
    return best


def main() -> None:
    """Print two tables."""
    grid, rng = quadrant(257), np.random.default_rng(0)

    def disks(family: str, number: int) -> object:
        return intensity(draw_system(family, number, rng), grid)

    def frame(world: Callable[[np.random.Generator], World]) -> object:
        return draw_intensity(world(rng), FAMILY, DISK_NUMBER, grid, rng)

    print(f"{'family':8}{'disks':>6}{'frames/s':>10}")
    for family in ("mono", "poly"):
        for number in (2, 11, 20):
            rate = frames_per_second(functools.partial(disks, family, number))
            print(f"{family:8}{number:>6}{rate:>10.0f}")
    print(f"\n{f'{FAMILY}, {DISK_NUMBER} disks':30}{'frames/s':>10}{'of the ideal':>14}")
    ideal = 0.0
    for name, world in WORLDS.items():
        rate = frames_per_second(functools.partial(frame, world))
        ideal = ideal or rate
        print(f"{name:30}{rate:>10.0f}{rate / ideal:>14.2f}")


if __name__ == "__main__":
    main()
