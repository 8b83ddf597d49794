"""Pictures of the structure solution's steps, for docs/explanations/structure.md.

Run it with ``python benchmarks/structure_pictures.py --out docs/explanations``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import scipy.fft
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from numpy.typing import NDArray

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.explain.style import (
    BLUE,
    FRAME_COLORS,
    NO_VALUE,
    k_scale_bar,
    log_norm,
    scale_bar,
    to_png,
)
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


def draw_sample(axis: Axes, found: NDArray[np.float64], truth: NDArray[np.float64], title: str) -> None:
    """Draw disks that were found, and the true ones as circles."""
    draw_disks(axis, found, color=BLUE, alpha=0.5)
    draw_disks(axis, truth, fill=False, color="black")
    scale_bar(axis, 1.0)
    axis.set_title(title)


def steps(system: DiskSystem, frame: NDArray[np.float32], geometry: FrameGeometry, k_step: float) -> Figure:
    """Draw the way from a frame to peaks."""
    observation = observe(frame, geometry, k_step, SolveSettings())
    radius = effective_radius(observation)
    lattice, _ = normalize(lattice_of(observation, 3.0 / radius, 1), observation, 1.0)
    full = complete(lattice, 300)
    rng = np.random.default_rng(0)
    density, _ = flip_charges(np.sqrt(full.intensity), full.known, full.inside, rng, 250, 1, 0.9)
    disks = disks_from_density(density[0], full.spacing, radius, EXTENT, 0.12, 26)
    figure = Figure(figsize=(18, 4.0), layout="constrained")
    axes = figure.subplots(1, 5)
    norm = log_norm(frame)
    shown = axes[0].imshow(np.maximum(frame, norm.vmin or 0.1), norm=norm, origin="lower", cmap=FRAME_COLORS)
    figure.colorbar(shown, ax=axes[0], shrink=0.75, label="intensity")
    axes[0].set_title("1. the frame")
    k_scale_bar(axes[0], k_step)
    for axis, one, title in ((axes[1], lattice, "2. what is known"), (axes[2], full, "3. completed")):
        amplitude = np.where(one.known, np.sqrt(one.intensity), np.nan)
        image = axis.imshow(scipy.fft.fftshift(amplitude), origin="lower", cmap=FRAME_COLORS)
        axis.set_facecolor(NO_VALUE)
        axis.set_title(title)
        k_scale_bar(axis, one.step)
    figure.colorbar(image, ax=list(axes[1:3]), shrink=0.75, label="amplitude |E|; not known: grey")
    image = axes[3].imshow(np.maximum(density[0], 0.0), origin="lower", cmap="gray_r")
    figure.colorbar(image, ax=axes[3], shrink=0.75, label="density (arbitrary unit)")
    axes[3].set_title("4. charge flipping")
    scale_bar(axes[3], full.spacing)
    truth = np.column_stack([system.positions, system.radii])
    if len(disks) == system.disk_number:
        disks = aligned(disks, truth)
    draw_sample(axes[4], disks, truth, "5. peaks as disks; truth: circles")
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    return figure


def outcome(system: DiskSystem, frame: NDArray[np.float32], structure: Structure) -> Figure:
    """Draw the answer beside the frame, the calculated frame, and the residual."""
    calculated = structure.calculated_frame((frame.shape[0], frame.shape[1]))
    figure = Figure(figsize=(16, 4.0), layout="constrained")
    axes = figure.subplots(1, 4)
    norm = log_norm(frame)
    for axis, values, title in ((axes[0], frame, "measured"), (axes[1], calculated, "calculated")):
        image = axis.imshow(
            np.maximum(values, norm.vmin or 0.1), norm=norm, origin="lower", cmap=FRAME_COLORS
        )
        axis.set_title(title)
        k_scale_bar(axis, structure.k_step)
    figure.colorbar(image, ax=list(axes[:2]), shrink=0.75, label="photons in a pixel")
    off = (frame - calculated) / np.sqrt(np.maximum(calculated, 1e-3))
    image = axes[2].imshow(off, origin="lower", cmap="RdBu", vmin=-4, vmax=4)
    figure.colorbar(image, ax=axes[2], shrink=0.75, label="(measured - calculated) / noise")
    axes[2].set_title("residual")
    truth = np.column_stack([system.positions, system.radii])
    found = np.column_stack([structure.x, structure.y, structure.r])
    if len(found) == len(truth):
        found = aligned(found, truth)
    title = f"{structure.disk_number} disks, {structure.certificate}; truth: circles"
    draw_sample(axes[3], found, truth, title)
    for axis in axes:
        axis.set(xticks=[], yticks=[])
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
    drawn = steps(system, ideal.astype(np.float32), geometry, grid.pitch)
    (options.out / "structure_steps.png").write_bytes(to_png(drawn, dpi=80))
    counts = DetectorResponse(photons=1e5).respond(ideal, rng)
    structure = solve(counts, geometry, grid.pitch)
    drawn = outcome(system, counts, structure)
    (options.out / "structure_outcome.png").write_bytes(to_png(drawn, dpi=80))


if __name__ == "__main__":
    main()
