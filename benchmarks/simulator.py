"""How many frames of 257 x 257 one core simulates in a second, drawing the disks included.

Run it with ``python benchmarks/simulator.py``.
"""

from __future__ import annotations

import time

import numpy as np

from simulated_devices import draw_system, intensity, quadrant

SECONDS = 2.0
REPEATS = 3


def frames_per_second(family: str, disk_number: int) -> float:
    """Give the best rate of some repeats, in processor time, so that other work counts little."""
    grid, rng = quadrant(257), np.random.default_rng(0)
    intensity(draw_system(family, disk_number, rng), grid)  # compiles, and fills the tables
    best = 0.0
    for _ in range(REPEATS):
        frames, started = 0, time.process_time()
        while (elapsed := time.process_time() - started) < SECONDS / REPEATS:
            intensity(draw_system(family, disk_number, rng), grid)
            frames += 1
        best = max(best, frames / elapsed)
    return best


def main() -> None:
    """Print a table."""
    print(f"{'family':8}{'disks':>6}{'frames/s':>10}")
    for family in ("mono", "poly"):
        for disk_number in (2, 11, 20):
            print(f"{family:8}{disk_number:>6}{frames_per_second(family, disk_number):>10.0f}")


if __name__ == "__main__":
    main()
