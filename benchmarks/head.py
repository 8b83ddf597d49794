"""What the head is worth: labels of the network alone, of the head alone, and of both, on fresh frames.

Prints a table in Markdown, right labels and those within one disk, of a network with a head beside it:

    python benchmarks/head.py [--model quadrant] [--grid quadrant] [--per-class 30] [--seed 4001]
"""

from __future__ import annotations

import argparse
import itertools
from dataclasses import replace

import numpy as np

from simulated_devices import Family
from speckle_plugin.network import find_bundle
from speckle_plugin.network.engines import make_engine
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import find_trust
from training.frames import balanced_set
from training.looks import look_at, looked_range
from training.recipe import FrameRecipe

PHOTONS = (None, 1e5, 1e4)
VOICES = ("network", "head", "both")


def main() -> None:
    """Measure, and print a line for each family and number of photons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle")
    parser.add_argument("--grid", default="quadrant")
    parser.add_argument("--size", type=int, default=257)
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--seed", type=int, default=4001)
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    trust = find_trust(bundle)
    if trust is None or not trust.heads:
        parser.error(f"there is no head beside {bundle.name}: speckle calibrate --head-frames makes one")
    engine = make_engine(bundle)
    print(f"| frames | {' | '.join(f'{voice} | within one' for voice in VOICES)} |\n" + "|---" * 7 + "|")
    for family, photons in itertools.product(Family, PHOTONS):
        recipe = FrameRecipe(families=(family.value,), grid=options.grid, size=options.size)
        if photons:
            recipe = replace(recipe, photons=(photons, photons), noisy_share=1.0)
        size = looked_range(bundle, recipe)
        head = trust.heads[size]
        drawn = balanced_set(recipe, options.per_class, options.seed, "head benchmark")
        seen = look_at(bundle, engine, ((0, frame) for frame in drawn), size, near=head.near)
        rest = seen.look.statistics, np.asarray(seen.spots)
        of_voice = (seen.look.logits, head.logits(*rest), head.join(seen.look.logits, *rest))
        cells = []
        for logits in of_voice:
            found = np.array(bundle.classes)[join_views(logits, 1.0).argmax(axis=1)]
            off = np.abs(found - seen.disk_numbers)
            cells.append(f"{(off == 0).mean():.3f} | {(off <= 1).mean():.3f}")
        name = f"`{family.value}`" + (f", {photons:.0e} photons" if photons else "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
