"""How many frames tell their disk number at all: the share that is decidable, against photons and disks.

A frame is decidable where its least informative disk is expected to gain 36 in twice the logarithm of the
likelihood, by the Fisher matrix with everything else free. No method finds the number of others but by luck.
Run it with ``python benchmarks/information_limit.py --frames 24 --out docs/explanations``: it writes
``information_limit.json`` and the figure ``information_limit.png``.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from simulated_devices import draw_system, grid_by_name, intensity
from speckle_plugin.structure import expected_gains

PHOTONS = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 1e7)
NUMBERS = (2, 5, 8, 11, 14, 17, 20)
GRIDS = ("quadrant", "centered", "published")
WORTH = 36.0


def decidable_share(grid_name: str, family: str, number: int, frames: int, seed: int) -> list[float]:
    """Give the share of decidable frames for each of `PHOTONS`."""
    grid = grid_by_name(grid_name, 257)
    blocked = [np.abs(np.arange(n) - c) <= 5.0 for n, c in zip(grid.shape, grid.beam_center, strict=True)]
    known = ~(blocked[0][:, None] & blocked[1][None, :])
    least = np.empty((frames, len(PHOTONS)))
    for index in range(frames):
        system = draw_system(family, number, np.random.default_rng([seed, number, index]))
        total = float(intensity(system, grid).sum())
        for column, photons in enumerate(PHOTONS):
            gains = expected_gains(system.positions, system.radii, grid, known, photons, total)
            least[index, column] = gains.min()
    return [float(share) for share in (least > WORTH).mean(axis=0)]


def main() -> None:
    """Compute, write and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--family", default="poly")
    parser.add_argument("--grids", nargs="*", choices=GRIDS, default=GRIDS)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/structure"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "information_limit.json"
    shares: dict[str, dict[str, list[float]]] = {}
    figure, axes = plt.subplots(1, len(options.grids), figsize=(4 * len(options.grids), 3.4), sharey=True)
    for axis, grid in zip(np.atleast_1d(axes), options.grids, strict=True):
        shares[grid] = {}
        for color, number in enumerate(NUMBERS):
            share = decidable_share(grid, options.family, number, options.frames, options.seed)
            shares[grid][str(number)] = share
            print(
                f"{grid:10} n {number:2}", *(f"{p:g}: {s:.2f}" for p, s in zip(PHOTONS, share, strict=True))
            )
            shade = plt.get_cmap("viridis")(color / (len(NUMBERS) - 1))
            axis.semilogx(
                PHOTONS, share, "osD^v"[color % 5] + "-", color=shade, label=f"{number} disks", markersize=3
            )
        axis.set_title(grid)
        axis.set_xlabel("photons in a frame")
        axis.grid(alpha=0.3)
    np.atleast_1d(axes)[0].set_ylabel("share of decidable frames")
    np.atleast_1d(axes)[-1].legend(fontsize=7)
    figure.tight_layout()
    figure.savefig(options.out / "information_limit.png", dpi=110)
    record = {"family": options.family, "frames": options.frames, "seed": options.seed, "photons": PHOTONS}
    path.write_text(json.dumps({**record, "decidable": shares}, indent=1) + "\n")


if __name__ == "__main__":
    main()
