"""Pictures of the structure solution's steps, for docs/explanations/structure.md.

Run it with ``python benchmarks/structure_pictures.py --out docs/explanations``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import numpy as np
import scipy.fft
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import SolveSettings, Structure, solve
from speckle_plugin.structure.flipping import flip_charges
from speckle_plugin.structure.guinier import effective_radius
from speckle_plugin.structure.lattice import lattice_of
from speckle_plugin.structure.matching import aligned
from speckle_plugin.structure.observation import observe
from speckle_plugin.structure.patterson import complete, normalize
from speckle_plugin.structure.peaks import disks_from_density

NUMBER, SEED = 9, 4
EXTENT = 2000.0


def draw_disks(axis: Axes, disks: NDArray[np.float64], **style: object) -> None:
    """Draw rows of (x, y, r), x upwards as the frame's rows."""
    for x, y, r in disks:
        axis.add_patch(Circle((y, x), r, **style))
    axis.set_xlim(0, EXTENT)
    axis.set_ylim(0, EXTENT)
    axis.set_aspect("equal")


def steps(system: DiskSystem, frame: NDArray[np.float32], geometry: FrameGeometry, k_step: float) -> Figure:
    """Draw the way from a frame to peaks."""
    observation = observe(frame, geometry, k_step, SolveSettings())
    radius = effective_radius(observation)
    lattice, _ = normalize(lattice_of(observation, 3.0 / radius, 1), observation, 1.0)
    full = complete(lattice, 300)
    rng = np.random.default_rng(0)
    density, _ = flip_charges(np.sqrt(full.intensity), full.known, full.inside, rng, 250, 1, 0.9)
    disks = disks_from_density(density[0], full.spacing, radius, EXTENT, 0.12, 26)
    figure, axes = plt.subplots(1, 5, figsize=(17, 3.5))
    axes[0].imshow(np.log(frame + 1e-4 * frame.mean()), origin="lower", cmap="magma")
    axes[0].set_title("the frame (logarithm)")
    for axis, one, title in ((axes[1], lattice, "what is known of |E|"), (axes[2], full, "completed")):
        shown = np.where(one.known, np.sqrt(one.intensity), np.nan)
        axis.imshow(scipy.fft.fftshift(shown), origin="lower", cmap="magma")
        axis.set_title(title)
    axes[3].imshow(np.maximum(density[0], 0.0), origin="lower", cmap="gray_r")
    axes[3].set_title("charge flipping (on a torus)")
    if len(disks) == system.disk_number:
        disks = aligned(disks, np.column_stack([system.positions, system.radii]))
    draw_disks(axes[4], disks, color="tab:blue", alpha=0.5)
    draw_disks(axes[4], np.column_stack([system.positions, system.radii]), fill=False, color="black")
    axes[4].set_title("peaks as disks; truth in black")
    for axis in axes[:4]:
        axis.set_xticks([])
        axis.set_yticks([])
    figure.tight_layout()
    return figure


def outcome(system: DiskSystem, frame: NDArray[np.float32], structure: Structure) -> Figure:
    """Draw the answer beside the frame, the calculated frame, and the residual."""
    calculated = structure.calculated_frame((frame.shape[0], frame.shape[1]))
    figure, axes = plt.subplots(1, 4, figsize=(14, 3.5))
    level = 0.02 * frame.mean()
    for axis, values, title in ((axes[0], frame, "measured"), (axes[1], calculated, "calculated")):
        axis.imshow(np.log(values + level), origin="lower", cmap="magma")
        axis.set_title(title)
    off = (frame - calculated) / np.sqrt(np.maximum(calculated, 1e-3))
    axes[2].imshow(off, origin="lower", cmap="RdBu", vmin=-4, vmax=4)
    axes[2].set_title("residual / noise, -4 to 4")
    truth = np.column_stack([system.positions, system.radii])
    found = np.column_stack([structure.x, structure.y, structure.r])
    if len(found) == len(truth):
        found = aligned(found, truth)
    draw_disks(axes[3], found, color="tab:blue", alpha=0.5)
    draw_disks(axes[3], truth, fill=False, color="black")
    axes[3].set_title(f"{structure.disk_number} disks, {structure.certificate}; truth in black")
    figure.tight_layout()
    return figure


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("docs/explanations"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(SEED)
    system = draw_system("poly", NUMBER, rng)
    grid = grid_by_name("quadrant", 257)
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    ideal = intensity(system, grid)
    steps(system, ideal.astype(np.float32), geometry, grid.pitch).savefig(
        options.out / "structure_steps.png", dpi=80
    )
    counts = DetectorResponse(photons=1e5).respond(ideal, rng)
    structure = solve(counts, geometry, grid.pitch)
    outcome(system, counts, structure).savefig(options.out / "structure_outcome.png", dpi=80)


if __name__ == "__main__":
    main()
