"""Pictures of the physics, for docs/explanations/physics.md and network.md.

Run it with ``python docs/pictures/physics.py``: it writes them into ``docs/explanations``.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.explain.style import (
    BLUE,
    FRAME_COLORS,
    k_scale_bar,
    line_styles,
    log_norm,
    scale_bar,
    to_png,
)
from speckle_plugin.network import find_bundle
from speckle_plugin.preprocessing import FrameGeometry, map_spacing, prepare

SEED = 7
BOX = 2000.0
PHOTONS = (1e3, 1e4, 1e5, 1e6)


def draw_disks(axes: Axes, system: DiskSystem, title: str) -> None:
    """Draw a sample as its frame is drawn: x, which goes with the rows, downwards."""
    for (x, y), r in zip(system.positions, system.radii, strict=True):
        axes.add_patch(Circle((y, x), r, color=BLUE))
    axes.set(xlim=(0, BOX), ylim=(BOX, 0), aspect="equal", xticks=[], yticks=[], title=title)
    scale_bar(axes, 1.0)


def from_disks_to_frame() -> Figure:
    """Draw few and many disks: sample, frame on a centred detector, Patterson map, radial mean."""
    figure = Figure(figsize=(14, 6.6), layout="constrained")
    panels = figure.subplots(2, 4, width_ratios=[1, 1.12, 1.12, 1.3])
    bundle, grid, quadrant = find_bundle(), grid_by_name("centered", 257), grid_by_name("quadrant", 257)
    geometry = FrameGeometry(quadrant.shape, quadrant.beam_center)
    spacing = map_spacing(bundle.preprocessing, geometry, quadrant.pitch)
    for row, number in zip(panels, (3, 12), strict=True):
        system = draw_system("mono", number, np.random.default_rng([SEED, number]))
        draw_disks(row[0], system, f"{number} disks")
        frame = intensity(system, grid)
        norm = log_norm(frame)
        shown = row[1].imshow(np.maximum(frame, norm.vmin or 0.1), norm=norm, cmap=FRAME_COLORS)
        row[1].set(title="the frame", xticks=[], yticks=[])
        k_scale_bar(row[1], grid.pitch)
        figure.colorbar(shown, ax=row[1], shrink=0.8, label="intensity")
        seen = prepare(intensity(system, quadrant), bundle.preprocessing, geometry)[0, 0]
        width = seen.shape[1]
        shown = row[2].imshow(seen[:width], vmin=-2.5, vmax=2.5, cmap="gray")
        row[2].set(title="Patterson map: distances of pairs", xticks=[], yticks=[])
        scale_bar(row[2], spacing[1], color="white")
        figure.colorbar(shown, ax=row[2], shrink=0.8, label="standardized")
        rows, columns = np.indices(grid.shape)
        k = np.hypot(rows - grid.beam_center[0], columns - grid.beam_center[1])
        ring = k.astype(int).ravel()
        mean = np.bincount(ring, frame.ravel())[:128] / np.bincount(ring)[:128]
        row[3].semilogy(np.arange(128) * grid.pitch, mean, color=BLUE)
        row[3].set(title="mean over rings", xlabel="k (1 / unit of length)", ylabel="intensity")
        row[3].grid(alpha=0.3)
    return figure


def photons() -> Figure:
    """Draw one frame with fewer and more photons."""
    figure = Figure(figsize=(14, 3.6), layout="constrained")
    grid = grid_by_name("centered", 257)
    system = draw_system("poly", 8, np.random.default_rng(SEED))
    ideal = intensity(system, grid)
    for axes, count in zip(figure.subplots(1, len(PHOTONS)), PHOTONS, strict=True):
        frame = DetectorResponse(photons=count).respond(ideal, np.random.default_rng(SEED))
        shown = axes.imshow(np.log10(frame + 0.3), cmap=FRAME_COLORS, vmax=np.log10(frame.max()))
        axes.set(title=f"$10^{np.log10(count):.0f}$ photons in the frame", xticks=[], yticks=[])
        k_scale_bar(axes, grid.pitch)
        bar = figure.colorbar(shown, ax=axes, shrink=0.8)
        ticks = [t for t in (0, 1, 2, 3, 4) if t <= np.log10(frame.max())]
        bar.set_ticks([np.log10(0.3), *ticks], labels=["0", *(f"{10**t:g}" for t in ticks)])
        bar.set_label("photons in a pixel")
    return figure


def form_factor() -> Figure:
    """Draw what one disk of some radius scatters: small disks hide at low k."""
    from scipy.special import j1

    figure = Figure(figsize=(8, 4), layout="constrained")
    axes = figure.subplots()
    k = np.linspace(1e-4, 256 * np.pi / BOX, 2000)
    for radius, style in zip((90.0, 45.0, 20.0), line_styles(), strict=False):
        amplitude = 2 * np.pi * radius**2 * j1(k * radius) / (k * radius)
        axes.semilogy(k, np.maximum(amplitude**2, 1e2), color=style["color"], label=f"r = {radius:g}")
    axes.axvline(128 * np.pi / BOX, color="0.5", linestyle="--", label="as far as the network looks")
    axes.set(xlabel="k (1 / unit of length)", ylabel="intensity of one disk", ylim=(1e2, 1e9))
    axes.legend()
    axes.grid(alpha=0.3)
    return figure


def explained() -> Figure:
    """Draw what the network looks at in one frame."""
    from speckle_plugin.explain.picture import explanation_picture
    from speckle_plugin.explain.saliency import explain

    grid, bundle = grid_by_name("quadrant", 257), find_bundle()
    system = draw_system("poly", 6, np.random.default_rng(SEED))
    frame = DetectorResponse(photons=1e6).respond(intensity(system, grid), np.random.default_rng(SEED))
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    explanation = explain(bundle, frame, geometry, k_step=grid.pitch)
    return explanation_picture(explanation, frame, bundle.preprocessing, geometry, grid.pitch)


PICTURES = {
    "physics_frames": from_disks_to_frame,
    "physics_photons": photons,
    "physics_disks": form_factor,
    "explanation": explained,
}


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parents[1] / "explanations")
    parser.add_argument("--only", choices=PICTURES)
    options = parser.parse_args()
    out: Path = options.out
    for name, draw in PICTURES.items():
        if options.only not in (None, name):
            continue
        path = out / f"{name}.png"
        path.write_bytes(to_png(draw(), dpi=80, colors=256))
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
