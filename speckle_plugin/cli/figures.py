"""`speckle figures`: the paper's figures, from simulated frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from speckle_plugin.cli.console import progress_bar, reporter, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import LARGEST_SEED, new_file

__all__ = ["FigureName", "figures"]

# The keys of training.evaluation.figures.FIGURES, said again: importing it takes seconds. A test compares.
FigureName = Literal["figure2", "figure6_mono", "figure6_poly", "figure6_constant_radius"]

DOTS_PER_INCH = 150


@clear_errors
def figures(
    out: Annotated[Path, typer.Option(help="Folder for the PNG files; made if need be.", show_default=False)],
    only: Annotated[FigureName | None, typer.Option(help="Draw this one.", show_default="all")] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="The same seed makes the same figures.")
    ] = 0,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    """Draw the paper's figures anew from simulated frames.

    **figure2**: disks in real space, their speckle patterns, and the map of distances that the network sees.
    **figure6_...**: the first moment of the intensity against the disk number, in four definitions, for equal
    disks, unequal disks and disks of one radius: how far a single number goes without a network.

    **Example**

        speckle figures --out figures
        speckle figures --out figures --only figure6_poly --seed 7 --force
    """
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as progress:
        task = progress.add_task("starting", total=None, numbers="")

        report = reporter(progress, task)

        from training.evaluation.figures import FIGURES

        for name, draw in FIGURES.items():
            if only in (None, name):
                path = out / f"{name}.png"
                with new_file(path, (".png",), force) as partial:
                    draw(seed=seed, report=report).savefig(partial, format="png", dpi=DOTS_PER_INCH)
                stdout().print(str(path), markup=False, soft_wrap=True)
