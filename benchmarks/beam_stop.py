"""How much a beam stop may hide: labels that are right, and frames that are flagged, by its size.

A square of 2 N + 1 pixels about the beam is masked, on frames with photon noise of the grids `quadrant` (the
beam in a corner) and `centered` (the whole frame). The networks block a square of 11 pixels by themselves.

    python benchmarks/beam_stop.py [--model quadrant] [--per-number 4] [--family poly] [--photons 1e6]
"""

from __future__ import annotations

import argparse

import numpy as np

from simulated_devices import DetectorResponse, draw_system, grid_by_name, intensity
from speckle_plugin.network import find_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.scattering import PixelGrid
from speckle_plugin.schema import Flag

GRIDS = {"quadrant": 257, "centered": 513}
HALVES = (5, 6, 7, 8, 9, 10, 11, 12)
SEED = 5


def beam_stop(grid: PixelGrid, half: int) -> FrameGeometry:
    """Give the geometry of a frame with a square masked about its beam."""
    mask = np.zeros(grid.shape, bool)
    row, column = (round(place) for place in grid.beam_center)
    mask[max(row - half, 0) : row + half + 1, max(column - half, 0) : column + half + 1] = True
    return FrameGeometry(grid.shape, grid.beam_center, mask)


def main() -> None:
    """Measure, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default="quadrant", help="name or path of a bundle")
    parser.add_argument("--per-number", type=int, default=4, help="frames of each disk number")
    parser.add_argument("--family", default="poly")
    parser.add_argument("--photons", type=float, default=1e6)
    options = parser.parse_args()
    classifier = Classifier(find_bundle(options.model))
    response = DetectorResponse(photons=options.photons)
    print(f"| hidden pixels | {' | '.join(f'{name}: right | flagged | odd_mask' for name in GRIDS)} |")
    print(f"|{'---|' * (1 + 3 * len(GRIDS))}")
    for half in HALVES:
        cells = []
        for name, size in GRIDS.items():
            grid = grid_by_name(name, size)
            geometry, rng = beam_stop(grid, half), np.random.default_rng(SEED)
            found = []
            for number in list(range(2, 21)) * options.per_number:
                frame = response.respond(intensity(draw_system(options.family, number, rng), grid), rng)
                (result,) = classifier.label([frame], geometry)
                odd = (Flag.OUT_OF_DISTRIBUTION in result.flags, Flag.ODD_MASK in result.flags)
                found.append((result.disk_number == number, *odd))
            cells += [f"{share:.2f}" for share in np.mean(found, axis=0)]
        print(f"| {2 * half + 1} x {2 * half + 1} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
