"""`speckle curve`: accuracy against the number of training frames."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import print_table, stdout, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import new_file

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from training.evaluation.learning_curve import EpochPoint

__all__ = ["curve"]


@clear_errors
def curve(
    models: Annotated[list[str], typer.Argument(help="Names or paths of networks.", show_default=False)],
    out: Annotated[
        Path | None, typer.Option(help="Picture to make: .png.", show_default="table only")
    ] = None,
    epochs: Annotated[
        bool, typer.Option("--epochs", help="How the training of each network went, epoch by epoch.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Compare networks by the number of frames that they were trained on.

    Each network says itself how it was trained and how it did on its test frames. With --epochs it is told
    how each of them came there: accuracy and loss on the frames of each epoch, and on those for validation.

    **Example**

        speckle train poly --set training_frames=1000 --out runs/poly-1000
        speckle train poly --set training_frames=4000 --out runs/poly-4000
        speckle curve runs/poly-*/poly.bundle --out learning.png
        speckle curve quadrant published --epochs --out training.png
    """
    from speckle_plugin.network import find_bundle
    from training.evaluation.learning_curve import (
        curve_picture,
        curve_points,
        epoch_picture,
        epoch_points,
    )

    bundles = [find_bundle(model) for model in models]
    if epochs:
        courses = {f"{bundle.name} {bundle.version}": epoch_points(bundle) for bundle in bundles}
        _print_courses(courses)
        _save(lambda: epoch_picture(courses), out, force)
        return
    points = curve_points(bundles)
    columns = ("frames", "frames seen", "test frames", "accuracy", "within one")
    shown = table("families", "how", *columns, right=columns)
    for p in points:
        numbers = (p.frames, p.updates, p.test_frames)
        shown.add_row(p.families, p.how, *map(str, numbers), f"{p.accuracy:.4f}", f"{p.within_one:.4f}")
    print_table(shown)
    _save(lambda: curve_picture(points), out, force)


def _print_courses(courses: Mapping[str, Sequence[EpochPoint]]) -> None:
    columns = ("epoch", "frames seen", "accuracy", "loss", "validation accuracy", "validation loss")
    shown = table("network", *columns, right=columns)
    for name, course in courses.items():
        for p in course:
            numbers = (p.accuracy, p.loss, p.val_accuracy, p.val_loss)
            shown.add_row(name, str(p.epoch), str(p.frames), *(f"{number:.4f}" for number in numbers))
    print_table(shown)


def _save(picture: Callable[[], Figure], out: Path | None, force: bool) -> None:
    if out is None:
        return
    with new_file(out, (".png",), force) as partial:
        picture().savefig(partial, dpi=120, format="png")
    stdout().print(str(out), markup=False, soft_wrap=True)
