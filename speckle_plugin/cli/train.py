"""`speckle train`: a network of one's own, from a recipe."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import print_table, progress_bar, remark, reporter, stdout, table
from speckle_plugin.cli.errors import clear_errors

__all__ = ["train"]

DOING = {"train": "training", "settle": "settling", "calibrate": "calibrating", "test": "testing"}


@clear_errors
def train(
    recipe: Annotated[
        str | None, typer.Argument(help="Name of a shipped recipe, or a TOML file.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, logs and the network.", show_default=False)
    ] = None,
    parent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|PATH",
            help="Network to start from; see: speckle models.",
            show_default="random weights",
        ),
    ] = None,
    changes: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="KEY=VALUE",
            help="Change the recipe, such as steps=200 or preprocessing.crop=65; may be given again.",
            show_default=False,
        ),
    ] = None,
    list_recipes: Annotated[bool, typer.Option("--list", help="List the shipped recipes.")] = False,
) -> None:
    """Train a network on simulated frames, and measure it on frames that it never saw.

    Stopped by Ctrl-C or killed, it goes on from the last checkpoint when the same command is given again.
    Watch the curves by: tensorboard --logdir FOLDER/tensorboard

    **Example**

        speckle train --list
        speckle train quadrant --out my-network
        speckle classify frames.h5 --model my-network/quadrant.bundle
        speckle train poly_published --parent quadrant --out fixed-radii
        speckle train mono --set training_frames=1000 --set frames.photons=[1e4,1e6] --out few-frames

    **Several machines**: set TF_CONFIG on each, as TensorFlow's guide to MultiWorkerMirroredStrategy says,
    and give the same command on each, with an own --out. Several GPUs in one machine are used by themselves.
    """
    if list_recipes:
        _list_recipes()
        return
    if recipe is None or out is None:
        raise ValueError("give a recipe and --out FOLDER; speckle train --list names the shipped recipes")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    with progress_bar() as progress:
        task = progress.add_task("starting TensorFlow", total=None, numbers="")

        report = reporter(progress, task, DOING)

        from speckle_plugin.network import find_bundle
        from training.recipe import load_recipe
        from training.train import train as run_training

        chosen = load_recipe(recipe, changes or ())
        start = None if parent is None else find_bundle(parent)
        try:
            bundle = run_training(chosen, out, report, parent=start)
        except KeyboardInterrupt:
            progress.stop()
            remark(f"Stopped. The last checkpoint is in {out}; the same command goes on from there.")
            raise
    test = bundle.metrics["test"]
    shown = table("test on frames never seen", "", right=("",))
    for key in ("frames", "errors", "accuracy", "within_one", "f1", "mean_confidence"):
        value = test[key]
        shown.add_row(key, f"{value:.4f}" if isinstance(value, float) else str(value))
    print_table(shown)
    stdout().print(
        f"{out / f'{bundle.name}.bundle'}: {bundle.name} {bundle.version}, SHA-256 {bundle.sha256[:12]}",
        markup=False,
        soft_wrap=True,
    )


def _list_recipes() -> None:
    from training.recipe import RECIPE_FOLDER, load_recipe

    listed = table("recipe", "version", "families", "grid", "photons", "frames", "precision")
    for path in sorted(RECIPE_FOLDER.glob("*.toml")):
        recipe = load_recipe(path)
        frames = recipe.frames
        listed.add_row(
            path.stem,
            recipe.version,
            ", ".join(frames.families),
            f"{frames.grid} {frames.size}",
            " to ".join(f"{p:g}" for p in frames.photons) or "no noise",
            f"{recipe.steps} x {recipe.batch}",
            recipe.precision,
        )
    print_table(listed)
