"""What heads are worth: labels of the network alone, of the largest head alone, and of all, on fresh frames.

Prints a table in Markdown, right labels and those within one disk, of a network with heads beside it:

    python benchmarks/head.py [--model quadrant] [--grid quadrant] [--size 513] [--per-class 30] [--seed 4001]
"""

from __future__ import annotations

import argparse
import itertools
import time
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from simulated_devices import Family
from speckle_plugin.network import Bundle, find_bundle
from speckle_plugin.network.engines import Engine, make_engine
from speckle_plugin.network.posterior import join_views
from speckle_plugin.network.trust import Trust, find_trust, frame_statistics, views_of
from speckle_plugin.network.trust.head import Head
from speckle_plugin.network.trust.judge import heads_for, join_heads
from speckle_plugin.network.trust.spots import frame_spots
from speckle_plugin.preprocessing import prepare
from training.frames import balanced_set, frame_geometry
from training.looks import look_at, looked_range
from training.recipe import FrameRecipe

PHOTONS = (None, 1e5, 1e4)
ROUNDS = 8
VOICES = ("network", "head", "all")


def main() -> None:
    """Measure, and print a line for each family and number of photons."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--model", default=None, help="name or path of a bundle")
    parser.add_argument("--grid", default="quadrant")
    parser.add_argument("--size", type=int, default=257)
    parser.add_argument("--per-class", type=int, default=30)
    parser.add_argument("--seed", type=int, default=4001)
    parser.add_argument("--speed", action="store_true", help="what the head costs, and nothing else")
    options = parser.parse_args()
    bundle = find_bundle(options.model)
    trust = find_trust(bundle)
    if trust is None or not trust.heads:
        parser.error(f"there is no head beside {bundle.name}: speckle calibrate --head-frames makes one")
    engine = make_engine(bundle)
    if options.speed:
        print(_speed(bundle, trust, engine, options))
        return
    print(f"| frames | {' | '.join(f'{voice} | within one' for voice in VOICES)} |\n" + "|---" * 7 + "|")
    for family, photons in itertools.product(Family, PHOTONS):
        recipe = FrameRecipe(families=(family.value,), grid=options.grid, size=options.size)
        if photons:
            recipe = replace(recipe, photons=(photons, photons), noisy_share=1.0)
        size = looked_range(bundle, recipe)
        heads = _heads_for(trust, recipe, bundle)
        drawn = balanced_set(recipe, options.per_class, options.seed, "head benchmark")
        maps = [head.maps for head in heads]
        seen = look_at(bundle, engine, ((0, frame) for frame in drawn), size, maps)
        verdict = trust.oddness[size].judge(seen.look, bundle.feature_statistics)
        joined = join_heads(trust, heads, seen.look, seen.spots, verdict)
        largest = heads[-1].logits(seen.look.statistics, seen.spots[-1])
        of_voice = (seen.look.logits, largest, joined)
        cells = []
        for logits in of_voice:
            found = np.array(bundle.classes)[join_views(logits, 1.0).argmax(axis=1)]
            off = np.abs(found - seen.disk_numbers)
            cells.append(f"{(off == 0).mean():.3f} | {(off <= 1).mean():.3f}")
        name = f"`{family.value}`" + (f", {photons:.0e} photons" if photons else "")
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _heads_for(trust: Trust, recipe: FrameRecipe, bundle: Bundle) -> list[Head]:
    heads = heads_for(trust, frame_geometry(recipe), bundle.preprocessing)
    if not heads:
        raise SystemExit(f"no head is for frames of {recipe.size} pixels on the grid {recipe.grid}")
    return heads


def _speed(bundle: Bundle, trust: Trust, engine: Engine, options: argparse.Namespace) -> str:
    """Time the parts of a label, one frame after the other; the median of rounds."""
    recipe = FrameRecipe(families=("poly",), grid=options.grid, size=options.size)
    drawn = list(balanced_set(recipe, 2, options.seed, "head benchmark"))
    geometry = drawn[0].geometry
    size = looked_range(bundle, recipe)
    views, heads = views_of(geometry, bundle.preprocessing, size), _heads_for(trust, recipe, bundle)
    taken: dict[str, list[float]] = {name: [] for name in ("prepare", "network", "statistics", "heads")}
    for _ in range(ROUNDS):
        for name in taken:
            taken[name].append(0.0)
        for frame, *_ in drawn:
            at = [time.perf_counter()]
            inputs = prepare(frame, bundle.preprocessing, geometry)[0]
            at.append(time.perf_counter())
            logits: NDArray[np.floating] = engine.run(inputs).logits[None]
            at.append(time.perf_counter())
            statistics = frame_statistics(frame, inputs, views)[None]
            at.append(time.perf_counter())
            for head in heads:
                spots = frame_spots(frame, statistics[0], geometry, bundle.preprocessing, head.maps)[None]
                families = np.full((1, head.shares.shape[1]), 1.0 / head.shares.shape[1])
                logits = head.join(logits, statistics, spots, families)
            at.append(time.perf_counter())
            for name, seconds in zip(taken, np.diff(at), strict=True):
                taken[name][-1] += seconds / len(drawn)
    middle = {name: float(np.median(of[1:])) for name, of in taken.items()}
    before = middle["prepare"] + middle["network"] + middle["statistics"]
    more = middle["heads"] / before
    parts = ", ".join(f"{name} {1e3 * seconds:.2f} ms" for name, seconds in middle.items())
    return f"{parts}; {len(heads)} head(s) add {more:.2f} of what a frame took before"


if __name__ == "__main__":
    main()
