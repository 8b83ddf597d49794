"""`speckle simulate`: frames of known disk numbers, to try the classifier on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import progress_bar, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import (
    LARGEST_SEED,
    FamilyName,
    GridName,
    check_room,
    new_file,
    parse_disk_numbers,
)

__all__ = ["simulate"]


@clear_errors
def simulate(
    out: Annotated[Path, typer.Option(help="File to make: .npz, .h5 or .hdf5.", show_default=False)],
    family: Annotated[FamilyName, typer.Option(help="How the radii of the disks are chosen.")] = "mono",
    grid: Annotated[
        GridName, typer.Option(help="Where the beam is: in the corner, in the middle, or as published.")
    ] = "quadrant",
    size: Annotated[
        int | None,
        typer.Option(
            min=2, max=16384, help="Rows and columns of a frame.", show_default="the grid's: 257 or 513"
        ),
    ] = None,
    disk_numbers: Annotated[str, typer.Option(help="A range, 2-20, or a list, 2,5,9.")] = "2-20",
    count: Annotated[int, typer.Option(min=1, help="Frames for each disk number.")] = 10,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed makes the same frames.")
    ] = 0,
    photons: Annotated[
        float | None, typer.Option(help="Mean photons per frame (Poisson).", show_default="no noise")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    r"""Make frames of known disk numbers.

    The file holds **frames**, float32 (frames, rows, columns), and **disk_number**, one
    for each frame; and how they were made: family, grid, beam_center, pitch, seed, photons. Every frame has
    a random sequence of its own, from the seed, the disk number and a count: a longer file begins like a
    shorter one.

    **Example**: 100 noisy frames of 2, 5 and 9 disks each, on a detector with the beam in its middle.

        speckle simulate --disk-numbers 2,5,9 --count 100 --grid centered \
          --photons 1e6 --out frames.h5
    """
    import math

    from speckle_plugin.cli.frame_output import SUFFIXES, write_frames

    numbers = parse_disk_numbers(disk_numbers)
    if photons is not None and not (math.isfinite(photons) and photons > 0):
        raise ValueError(f"photons must be a positive number, not {photons}")
    with new_file(out, SUFFIXES, force) as partial, progress_bar() as progress:
        task = progress.add_task("making frames", total=None, numbers="")
        from simulated_devices import grid_by_name
        from speckle_plugin.preprocessing import FrameGeometry
        from training.frames import draw_frame, generator
        from training.recipe import FrameRecipe

        recipe = FrameRecipe(families=(family,), photons=() if photons is None else (photons, photons))
        pixels = grid_by_name(grid, size)
        check_room(out, 4 * len(numbers) * count * pixels.shape[0] * pixels.shape[1])
        geometry = FrameGeometry(pixels.shape, pixels.beam_center)
        progress.update(task, total=len(numbers) * count)

        def draw():  # type: ignore[no-untyped-def]
            for disk_number in numbers:
                for index in range(count):
                    # Apart from those that training and its tests use.
                    rng = generator(seed, "speckle simulate", disk_number, index)
                    yield draw_frame(recipe, disk_number, rng, pixels, geometry).frame, disk_number
                    progress.advance(task)

        attributes = {
            "family": family,
            "grid": grid,
            "beam_center": pixels.beam_center,
            "pitch": pixels.pitch,
            "seed": seed,
            "photons": photons or 0.0,
        }
        write_frames(partial, out.suffix, draw(), (len(numbers) * count, *pixels.shape), attributes)
    stdout().print(
        f"{out}: {len(numbers) * count} frames of {pixels.shape[0]} x {pixels.shape[1]} pixels, "
        f"disk numbers {disk_numbers}, {family}, {grid}",
        markup=False,
        soft_wrap=True,
    )
