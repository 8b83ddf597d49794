"""`speckle curve`: accuracy against the number of training frames."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import print_table, stdout, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import new_file

__all__ = ["curve"]


@clear_errors
def curve(
    models: Annotated[list[str], typer.Argument(help="Names or paths of networks.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Picture to make: .png.", show_default="table only")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Compare networks by the number of frames that they were trained on.

    Each network says itself how it was trained and how it did on its test frames.

    **Example**

        speckle train poly --set training_frames=1000 --out runs/poly-1000
        speckle train poly --set training_frames=4000 --out runs/poly-4000
        speckle curve runs/poly-*/poly.bundle --out learning.png
    """
    from speckle_plugin.network import find_bundle
    from training.evaluation.learning_curve import curve_picture, curve_points

    points = curve_points(find_bundle(model) for model in models)
    columns = ("frames", "frames seen", "test frames", "accuracy", "within one")
    shown = table("families", "how", *columns, right=columns)
    for p in points:
        numbers = (p.frames, p.updates, p.test_frames)
        shown.add_row(p.families, p.how, *map(str, numbers), f"{p.accuracy:.4f}", f"{p.within_one:.4f}")
    print_table(shown)
    if out is not None:
        with new_file(out, (".png",), force) as partial:
            curve_picture(points).savefig(partial, dpi=120, format="png")
        stdout().print(str(out), markup=False, soft_wrap=True)
