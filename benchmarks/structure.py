"""How well and how fast frames are solved: any row of the targets' table, resumable.

Run a row with ``python benchmarks/structure.py --row no_noise --per-number 10 --out runs/structure``. Each
frame becomes a line of JSON in ``ROW.jsonl``; a row that was interrupted goes on where it ended. The
table is printed at the end, or of what is there with ``--report``; without ``--row`` a table of all rows that
are there. Times are processor time of one core.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from simulated_devices import DetectorResponse, DiskSystem, draw_system, grid_by_name, intensity
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.scattering import PixelGrid
from speckle_plugin.structure import SolveSettings, Structure, expected_gains, solve
from speckle_plugin.structure.matching import largest_difference
from speckle_plugin.structure.selection import WORTH

FAMILIES = ("poly", "mono", "constant_radius", "poly_published")
GRIDS = ("quadrant", "centered", "published")
NUMBERS = range(2, 21)


@dataclass(frozen=True)
class Row:
    """A row of the table: what is done to the frames, and what the solver is told."""

    families: tuple[str, ...] = FAMILIES
    photons: float | None = None
    rounded: bool = False
    off_center: float = 0.0
    masked: float = 0.0
    point_spread: float = 0.0


ROWS = {
    "no_noise": Row(),
    "int16": Row(rounded=True),
    "photons_1e6": Row(photons=1e6),
    "photons_1e5": Row(photons=1e5),
    "photons_3e4": Row(photons=3e4),
    "photons_1e4": Row(photons=1e4),
    "plain": Row(("poly",), photons=1e6),
    "center_off": Row(("poly",), photons=1e6, off_center=0.5),
    "masked": Row(("poly",), photons=1e6, masked=0.1),
    "point_spread": Row(("poly",), photons=1e6, point_spread=1.0),
}


def gaps_and_pixels(shape: tuple[int, int], share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """Mask half of a share as gaps between modules, half as single pixels."""
    mask = rng.random(shape) < share / 2.0
    width = max(1, round(share / 4.0 * shape[0]))
    for axis, size in enumerate(shape):
        start = int(size * 0.6)
        mask[(slice(None),) * axis + (slice(start, start + width),)] = True
    return np.asarray(mask)


@dataclass(frozen=True)
class Case:
    """A frame with its truth, and what the solver is told."""

    system: DiskSystem
    frame: NDArray[Any]
    geometry: FrameGeometry
    k_step: float
    settings: SolveSettings
    decidable: bool


def make_case(row: Row, family: str, grid_name: str, number: int, seed: tuple[int, ...]) -> Case:
    """Simulate one frame of a row."""
    rng = np.random.default_rng([*seed, FAMILIES.index(family), GRIDS.index(grid_name), number])
    system = draw_system(family, number, rng)
    told = grid_by_name(grid_name, 257)
    off = rng.uniform(-1.0, 1.0, 2)
    off *= row.off_center / np.hypot(*off)
    center = (told.beam_center[0] + float(off[0]), told.beam_center[1] + float(off[1]))
    grid = PixelGrid(told.shape, told.pitch, center)
    ideal = intensity(system, grid)
    response = DetectorResponse(photons=row.photons, point_spread=row.point_spread)
    frame = response.respond(ideal, rng)
    settings = SolveSettings(point_spread=row.point_spread)
    seen = FrameGeometry(told.shape, told.beam_center).unmasked(settings.center_half_width)
    if row.rounded:
        frame = np.minimum(np.rint(ideal * (65534.0 / ideal[seen].max())), 65535.0).astype(np.uint16)
        settings = SolveSettings(noise="rounded")
    mask = gaps_and_pixels(told.shape, row.masked, rng) if row.masked else None
    known = seen if mask is None else seen & ~mask
    decidable = True
    if row.photons is not None:
        gains = expected_gains(system.positions, system.radii, grid, known, row.photons, float(ideal.sum()))
        decidable = bool(gains.min() > WORTH)
    return Case(
        system, frame, FrameGeometry(told.shape, told.beam_center, mask), told.pitch, settings, decidable
    )


def published_cases() -> Iterator[tuple[dict[str, Any], Case]]:
    """Give the frames that the paper's authors published; their truth is the number and the radius."""
    folder = os.environ.get("SPECKLE_SHARED")
    shared = Path(folder) if folder else Path(__file__).parents[2] / "shared"
    path = shared / "data" / "published_frames.npz"
    if not path.is_file():
        raise SystemExit(
            f"the published frames are not here ({path}): set SPECKLE_SHARED to the folder of data/"
        )
    grid = grid_by_name("published", 257)
    with np.load(path) as archive:
        for index, (frame, number) in enumerate(zip(archive["frames"], archive["disk_number"], strict=True)):
            system = DiskSystem(np.zeros((number, 2)), np.full(number, 90.0))
            key = {"family": "published", "grid": "published", "number": int(number), "index": index}
            geometry = FrameGeometry(grid.shape, grid.beam_center)
            yield key, Case(system, frame, geometry, grid.pitch, SolveSettings(tolerance=0.01), True)


def judge(case: Case, structure: Structure, positions_known: bool = True) -> dict[str, Any]:
    """Compare an answer with the truth."""
    exact = structure.disk_number == case.system.disk_number
    off = float("nan")
    if exact and positions_known:
        found = np.column_stack([structure.x, structure.y, structure.r])
        off = largest_difference(found, np.column_stack([case.system.positions, case.system.radii]))
    elif exact:
        off = float(np.abs(structure.r - case.system.radii).max())
    return {
        "found": structure.disk_number,
        "exact": exact,
        "off": off,
        "certificate": str(structure.certificate),
        "reason": structure.reason,
        "decidable": case.decidable,
        "residual": structure.residual,
        "z": structure.z_score,
        "weakest": structure.weakest_gain,
        "remaining": structure.remaining_gain,
        "hidden": structure.hidden_radius,
        "smallest": float(case.system.radii.min()),
        "starts": structure.starts,
    }


def cases(name: str, options: argparse.Namespace, done: set[str]) -> Iterator[tuple[dict[str, Any], Case]]:
    """Give the frames of a row that are not done."""
    if name == "published_frames":
        yield from ((key, case) for key, case in published_cases() if json.dumps(key) not in done)
        return
    row = ROWS[name]
    for index in range(options.per_number):
        for family in options.families or row.families:
            for grid in options.grids or GRIDS:
                for number in options.numbers or NUMBERS:
                    key = {"family": family, "grid": grid, "number": number, "index": index}
                    if json.dumps(key) not in done:
                        yield key, make_case(row, family, grid, number, (options.seed, index))


def report(lines: list[dict[str, Any]]) -> str:
    """Make a table of what was found, a line for each family and grid, and one for all."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for line in lines:
        groups.setdefault(f"{line['key']['family']} {line['key']['grid']}", []).append(line)
    groups["all"] = lines
    table = [
        f"{'frames':28}{'count':>6}{'exact':>8}{'decidable':>10}{'exact of those':>15}{'certified':>10}"
        f"{'falsely':>8}{'<= 0.01':>8}{'worst off':>10}{'mean s':>8}{'worst s':>8}"
    ]
    for name, group in groups.items():
        exact = np.array([g["exact"] for g in group])
        decidable = np.array([g["decidable"] for g in group])
        certified = np.array([g["certificate"] == "solved" for g in group])
        off = np.array([g["off"] for g in group])
        seconds = np.array([g["seconds"] for g in group])
        table.append(
            f"{name:28}{len(group):>6}{exact.mean():>8.4f}{decidable.mean():>10.4f}"
            f"{exact[decidable].mean() if decidable.any() else np.nan:>15.4f}{certified.mean():>10.4f}"
            f"{int((certified & ~exact).sum()):>8}{(off <= 0.01).mean():>8.4f}"
            f"{np.nanmax(off) if exact.any() else np.nan:>10.2g}{seconds.mean():>8.2f}{seconds.max():>8.2f}"
        )
    return "\n".join(table)


def summary(folder: Path) -> str:
    """Make a table in Markdown of all rows in a folder, a line for each."""
    table = [
        "| row | frames | exact | decidable | exact of these | certified | falsely | all within 0.01 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in (*ROWS, "published_frames"):
        path = folder / f"{name}.jsonl"
        if not path.is_file():
            continue
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        exact, decidable = (np.array([line[key] for line in lines]) for key in ("exact", "decidable"))
        certified = np.array([line["certificate"] == "solved" for line in lines])
        close = np.array([line["off"] <= 0.01 for line in lines])
        table.append(
            f"| `{name}` | {len(lines)} | {exact.sum()} | {decidable.sum()} | "
            f"{exact[decidable].mean():.3f} | {certified.sum()} | {(certified & ~exact).sum()} | "
            f"{close.sum()} |"
        )
    return "\n".join(table)


def main() -> None:
    """Run a row, or report one, or all."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--row", choices=[*ROWS, "published_frames"], help="default: a table of all")
    parser.add_argument("--per-number", type=int, default=10)
    parser.add_argument("--seed", type=int, default=16)
    parser.add_argument("--families", nargs="*", choices=FAMILIES)
    parser.add_argument("--grids", nargs="*", choices=GRIDS)
    parser.add_argument("--numbers", nargs="*", type=int)
    parser.add_argument("--out", type=Path, default=Path("runs/structure"))
    parser.add_argument("--report", action="store_true", help="print the table of what is there")
    parser.add_argument("--verbose", action="store_true", help="print each frame that is not exact")
    options = parser.parse_args()
    if options.row is None:
        print(summary(options.out))
        return
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"{options.row}.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    if not options.report:
        warm_up()
        done = {json.dumps(line["key"]) for line in lines}
        with path.open("a") as out:
            for key, case in cases(options.row, options, done):
                started = time.process_time()
                structure = solve(case.frame, case.geometry, case.k_step, case.settings, time.process_time)
                seconds = time.process_time() - started
                line = {
                    "key": key,
                    "seconds": seconds,
                    **judge(case, structure, key["family"] != "published"),
                }
                lines.append(line)
                out.write(json.dumps(line) + "\n")
                out.flush()
                if options.verbose and not (line["exact"] and line["certificate"] == "solved"):
                    print(json.dumps(line), *structure.history, sep="\n   ", flush=True)
    print(report(lines))


def warm_up() -> None:
    """Compile before the clock starts."""
    for name in ("no_noise", "photons_1e5", "point_spread"):
        case = make_case(ROWS[name], "poly", "quadrant", 3, (0,))
        solve(case.frame, case.geometry, case.k_step, case.settings)


if __name__ == "__main__":
    with threadpool_limits(1):  # threads of a matrix product spin, and processor time counts it
        main()
