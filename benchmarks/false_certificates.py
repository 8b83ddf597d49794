"""Is a frame that is not of disks ever certified? Frames of many other kinds, and wrong geometries.

Run it with ``python benchmarks/false_certificates.py --frames 2000 --out runs/structure``. Each frame becomes
a line of JSON in ``false_certificates.jsonl``; a study that was interrupted goes on where it ended, and
``--first`` divides one among several processes. Half of the frames are without noise, half have 10^5 photons;
with ``--rounded`` all are intensities as integers, the brightest pixel at 30000 or at 300.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.special import j1
from threadpoolctl import threadpool_limits

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.scattering import PixelGrid
from speckle_plugin.structure import SolveSettings, solve

Array = NDArray[np.float64]
Maker = Callable[[DiskSystem, PixelGrid, np.random.Generator], Array]
SIZE = 257


def summed(system: DiskSystem, grid: PixelGrid, form: Callable[[Array, Array, float], Array]) -> Array:
    """Add up objects of another form factor, given as a function of k along rows and columns, and size."""
    kx, ky = grid.k_rows[:, None], grid.k_columns[None, :]
    amplitude = np.zeros(grid.shape, complex)
    for (x, y), r in zip(system.positions, system.radii, strict=True):
        amplitude += form(kx, ky, float(r)) * (np.exp(-1j * kx * x) * np.exp(-1j * ky * y))
    return np.asarray(np.abs(amplitude) ** 2)


def squares(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Squares of the disks' areas, turned by chance."""

    def form(kx: Array, ky: Array, r: float) -> Array:
        angle, side = rng.uniform(0.0, np.pi / 2.0), math.sqrt(np.pi) * r
        u, v = kx * math.cos(angle) + ky * math.sin(angle), ky * math.cos(angle) - kx * math.sin(angle)
        return np.asarray(side**2 * np.sinc(u * side / 2.0 / np.pi) * np.sinc(v * side / 2.0 / np.pi))

    return summed(system, grid, form)


def spheres(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Spheres in projection."""

    def form(kx: Array, ky: Array, r: float) -> Array:
        u = np.maximum(np.hypot(kx, ky) * r, 1e-3)
        return np.asarray(4.0 * np.pi * r**3 * (np.sin(u) - u * np.cos(u)) / u**3)

    return summed(system, grid, form)


def ellipses(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Disks seen by a detector whose pixels are a tenth longer than wide, untold."""
    amplitude = np.zeros(grid.shape, complex)
    kx, ky = 1.1 * grid.k_rows[:, None], grid.k_columns[None, :]
    for (x, y), r in zip(system.positions, system.radii, strict=True):
        q = np.maximum(np.hypot(kx, ky) * r, 1e-9)
        amplitude += 2.0 * np.pi * r**2 * j1(q) / q * (np.exp(-1j * kx * x) * np.exp(-1j * ky * y))
    return np.asarray(np.abs(amplitude) ** 2)


def overlapping(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Disks of which every second lies on the one before; where two overlap the density is double."""
    positions = system.positions.copy()
    for second in range(1, len(positions), 2):
        reach = 0.7 * (system.radii[second] + system.radii[second - 1]) * rng.uniform(0.3, 1.0)
        angle = rng.uniform(0.0, 2.0 * np.pi)
        positions[second] = positions[second - 1] + reach * np.array([math.cos(angle), math.sin(angle)])
    return intensity(DiskSystem(positions, system.radii), grid)


def two_exposures(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Two samples in one frame, incoherently: one that moved."""
    other = DiskSystem(system.positions[:, ::-1].copy(), system.radii)
    return intensity(system, grid) + intensity(other, grid)


def incoherent(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Disks that do not interfere: the mean of very many samples."""
    total = np.zeros(grid.shape)
    for r in system.radii:
        total += intensity(DiskSystem(np.zeros((1, 2)), np.array([r])), grid)
    return total * (1.0 + 0.01 * rng.random(grid.shape))


def shuffled(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Pixels of a right frame in any order."""
    frame = intensity(system, grid)
    return rng.permutation(frame.ravel()).reshape(frame.shape)


def shuffled_rings(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Pixels of a right frame, shuffled among those of the same ring: the radial mean is right."""
    frame = intensity(system, grid).ravel()
    ring = np.rint(grid.k_magnitude / grid.pitch).ravel()
    shuffled_frame = np.empty_like(frame)
    for value in np.unique(ring):
        which = np.flatnonzero(ring == value)
        shuffled_frame[which] = rng.permutation(frame[which])
    return shuffled_frame.reshape(grid.shape)


def noise(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Nothing but noise."""
    return rng.exponential(1.0, grid.shape)


def speckle(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Random speckle of a continuous random medium in the same box: no disks, but the right speckle size."""
    points = rng.uniform(0.0, 2000.0, (300, 2))
    return intensity(DiskSystem(points, np.full(300, 4.0)), grid)


def rings(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Rings: disks with a hole of half the radius."""

    def form(kx: Array, ky: Array, r: float) -> Array:
        k = np.maximum(np.hypot(kx, ky), 1e-9)
        return np.asarray(2.0 * np.pi * (r * j1(k * r) - 0.5 * r * j1(0.5 * k * r)) / k)

    return summed(system, grid, form)


def wrong_center(system: DiskSystem, grid: PixelGrid, rng: np.random.Generator) -> Array:
    """Disks, with the beam told 5 pixels beside the place."""
    row, column = grid.beam_center
    return intensity(system, PixelGrid(grid.shape, grid.pitch, (row + 4.0, column - 3.0)))


KINDS: dict[str, Maker] = {
    maker.__name__: maker
    for maker in (
        noise, speckle, shuffled, shuffled_rings, squares, spheres, rings, ellipses, overlapping,
        two_exposures, incoherent, wrong_center,
    )
}  # fmt: skip


SHAPES = ("squares", "spheres", "rings", "ellipses")


def main() -> None:
    """Run the study."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--first", type=int, default=0, help="frame to begin with; with an --out of its own")
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--budget", type=float, default=2.0, help="seconds of processor time a frame")
    parser.add_argument("--rounded", action="store_true", help="integers without noise")
    parser.add_argument("--out", type=Path, default=Path("runs/structure"))
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "false_certificates.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    names = list(KINDS)
    with path.open("a") as out:
        for index in range(options.first + len(lines), options.first + options.frames):
            rng = np.random.default_rng([options.seed, index])
            kind = names[index % len(names)]
            grid_name = ("quadrant", "centered", "published")[index // len(names) % 3]
            grid = grid_by_name(grid_name, SIZE)
            family = ("poly", "mono", "constant_radius")[int(rng.integers(3))]
            number = int(rng.integers(2, 21))
            if kind == "incoherent":
                family = "poly"  # equal disks without interference give the frame of one disk
            if grid_name == "published" and kind in SHAPES:
                family = "constant_radius"  # smaller ones are disks, as far as this grid's k range can tell
            ideal = KINDS[kind](draw_system(family, number, rng), grid, rng)
            photons = 1e5 if index // (3 * len(names)) % 2 else None
            if options.rounded:
                peak = 300.0 if photons else 30000.0
                frame, photons = np.rint(ideal * (peak / ideal.max())).astype(np.uint16), None
            else:
                frame = DetectorResponse(photons=photons).respond(ideal, rng)
            started = time.process_time()
            structure = solve(
                frame,
                FrameGeometry(grid.shape, grid.beam_center),
                grid.pitch,
                SolveSettings(budget=options.budget),
                time.process_time,
            )
            line = {
                "kind": kind,
                "grid": grid_name,
                "family": family,
                "number": number,
                "photons": photons,
                "certificate": str(structure.certificate),
                "reason": structure.reason,
                "found": structure.disk_number,
                "residual": structure.residual,
                "z": structure.z_score,
                "seconds": time.process_time() - started,
            }
            lines.append(line)
            out.write(json.dumps(line) + "\n")
            out.flush()
            if structure.solved:
                print("certified:", json.dumps(line), flush=True)
    print(f"{'kind':16}{'frames':>8}{'certified':>10}{'not explained':>14}{'undecided':>10}{'mean s':>8}")
    for kind in [*names, "all"]:
        group = [line for line in lines if kind in (line["kind"], "all")]
        counts = [sum(g["certificate"] == c for g in group) for c in ("solved", "not_explained", "undecided")]
        seconds = np.mean([g["seconds"] for g in group]) if group else np.nan
        print(f"{kind:16}{len(group):>8}{counts[0]:>10}{counts[1]:>14}{counts[2]:>10}{seconds:>8.2f}")


if __name__ == "__main__":
    with threadpool_limits(1):  # threads of a matrix product spin, and processor time counts it
        main()
