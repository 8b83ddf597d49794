"""How many frames tell their disk number at all, and how many the network names: against photons and disks.

The likelihood ratio is that between the true disks and the best fit without the one that shows least: twice
its logarithm, as expected, of a frame of so many photons. A frame is decidable where it is above 36; of
others no method finds the number but by luck. Run it with
``python benchmarks/information_limit.py --frames 24 --out docs/explanations``: it writes
``information_limit.json`` and the figure ``information_limit.png``, and prints means over the disk numbers.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.scattering import PixelGrid
from speckle_plugin.structure import SolveSettings, expected_gains
from speckle_plugin.structure.model import Model
from speckle_plugin.structure.observation import observe
from speckle_plugin.structure.refinement import Refinement
from speckle_plugin.structure.selection import WORTH

PHOTONS = (1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6, 1e7)
REFERENCE = 1e6
"""Photons for which ratios are computed: they go in proportion."""

NUMBERS = (2, 5, 8, 11, 14, 17, 20)
BUNDLES = {"quadrant": "quadrant", "centered": "quadrant", "published": "published"}
"""Grids, and the networks that are for them."""


def likelihood_ratio(system: DiskSystem, ideal: NDArray[np.float64], grid: PixelGrid) -> tuple[float, float]:
    """Give twice the logarithm of the ratio at `REFERENCE` photons: by a fit, and by the Fisher matrix.

    Parameters
    ----------
    system : DiskSystem
    ideal : array, shape `grid.shape`
        Its intensity.
    grid : PixelGrid
    """
    expected = ideal * (REFERENCE / ideal.sum())
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    observation = observe(expected, geometry, grid.pitch, SolveSettings(noise="counts"))
    gains = expected_gains(
        system.positions, system.radii, grid, observation.known, REFERENCE, float(ideal.sum())
    )
    model = Model(system.positions, system.radii, math.log(REFERENCE / ideal.sum()), grid.beam_center)
    target = observation.likelihood(math.inf, merge=True)
    _, deviance = Refinement().refine(model.without(int(gains.argmin())), target, 30)
    return deviance, float(gains.min())


def measure(grid_name: str, family: str, number: int, frames: int, seed: int) -> dict[str, list[float]]:
    """Give for each of `PHOTONS` the share of frames that are decidable, and that the network names."""
    grid = grid_by_name(grid_name, 257)
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    classifier = Classifier(BUNDLES[grid_name])
    ratios = np.empty((frames, 2))
    named = np.zeros(len(PHOTONS))
    for index in range(frames):
        rng = np.random.default_rng([seed, number, index])
        system = draw_system(family, number, rng)
        ideal = intensity(system, grid)
        with threadpool_limits(1):  # threads of a matrix product would spin
            ratios[index] = likelihood_ratio(system, ideal, grid)
        taken = [DetectorResponse(photons=photons).respond(ideal, rng) for photons in PHOTONS]
        named += [label.disk_number == number for label in classifier.label(taken, geometry)]
    fitted, by_fisher = (
        [float((of * (photons / REFERENCE) > WORTH).mean()) for photons in PHOTONS] for of in ratios.T
    )
    return {"decidable": fitted, "by_fisher_matrix": by_fisher, "network": (named / frames).tolist()}


def draw(shares: dict[str, dict[str, dict[str, list[float]]]], family: str) -> Figure:
    """Draw the shares: a column for each grid, what is possible above what the network does."""
    figure, axes = plt.subplots(
        2, len(shares), figsize=(4 * len(shares), 5.6), sharex=True, sharey=True, squeeze=False
    )
    for column, (grid, of_number) in enumerate(shares.items()):
        for row, what in enumerate(("decidable", "network")):
            axis = axes[row, column]
            for place, (number, share) in enumerate(of_number.items()):
                color = plt.get_cmap("viridis")(place / max(len(of_number) - 1, 1))
                style = "osD^v"[place % 5] + "-"
                axis.semilogx(PHOTONS, share[what], style, color=color, label=f"{number} disks", markersize=3)
            axis.grid(alpha=0.3)
        axes[0, column].set_title(f"grid {grid}, {family}")
        axes[1, column].set_xlabel("photons in a frame")
    axes[0, 0].set_ylabel("share of decidable frames")
    axes[1, 0].set_ylabel("share that the network names")
    axes[0, -1].legend(fontsize=7)
    figure.tight_layout()
    return figure


def means(shares: dict[str, dict[str, dict[str, list[float]]]]) -> str:
    """Make a table in Markdown of means over the disk numbers."""
    lines = [f"| | {' | '.join(f'{photons:g}' for photons in PHOTONS)} |", "|---" * (len(PHOTONS) + 1) + "|"]
    for grid, of_number in shares.items():
        for what in ("decidable", "by_fisher_matrix", "network"):
            mean = np.mean([share[what] for share in of_number.values()], axis=0)
            name = f"{grid}, {what.replace('_', ' ')}"
            lines.append(f"| {name} | {' | '.join(f'{value:.2f}' for value in mean)} |")
    return "\n".join(lines)


def main() -> None:
    """Compute, write and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=60, help="of each grid and disk number")
    parser.add_argument("--family", default="poly")
    parser.add_argument("--grids", nargs="*", choices=BUNDLES, default=list(BUNDLES))
    parser.add_argument("--numbers", nargs="*", type=int, default=NUMBERS)
    parser.add_argument("--seed", type=int, default=8)
    parser.add_argument("--out", type=Path, default=Path("runs/structure"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    shares: dict[str, dict[str, dict[str, list[float]]]] = {}
    for grid in options.grids:
        shares[grid] = {}
        for number in options.numbers:
            share = measure(grid, options.family, number, options.frames, options.seed)
            shares[grid][str(number)] = share
            told = (
                f"{p:g}: {a:.2f} {b:.2f}"
                for p, a, b in zip(PHOTONS, share["decidable"], share["network"], strict=True)
            )
            print(f"{grid:10} n {number:2}", *told, flush=True)
    record: dict[str, Any] = {
        "family": options.family, "frames": options.frames, "seed": options.seed, "photons": PHOTONS
    }  # fmt: skip
    (options.out / "information_limit.json").write_text(json.dumps({**record, "shares": shares}) + "\n")
    draw(shares, options.family).savefig(options.out / "information_limit.png", dpi=100)
    print(means(shares))


if __name__ == "__main__":
    main()
