"""`speckle calibrate`: fit beside a network what it does not know, and how sure it may be."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import print_table, progress_bar, reporter, stdout, table
from speckle_plugin.cli.errors import clear_errors

__all__ = ["calibrate"]


@clear_errors
def calibrate(
    model: Annotated[
        str | None, typer.Argument(metavar="[NAME|PATH]", help="See: speckle models.", show_default=False)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="File to write, .trust.npz.", show_default="beside the network's file"),
    ] = None,
    known: Annotated[int, typer.Option(min=20, help="Known frames of each disk number.")] = 500,
    odd: Annotated[int, typer.Option(min=20, help="Odd frames of each kind.")] = 2000,
    graded: Annotated[
        int,
        typer.Option(min=0, help="Frames of each disk number, family and noise; 0 for no confidences."),
    ] = 120,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same frames.")] = 20261128,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Fit what tells frames that a network was not made for, and how sure it may be of the others.

    Draws known frames, as the network was trained on, and odd ones (other numbers, k steps and shapes,
    faults of the detector, a beam that is off, less coherence), and fits detectors of oddness. The network
    itself stays as it is. The file is found by itself beside the network's file; frames that are odd get the
    flag **out_of_distribution**, and one that says in what they are odd, such as **odd_beam**.

    Further frames, of all families of disks, without noise and with it, are classified to see how often the
    network is right. From then on each frame has a confidence that fits its kind, and a set of possible disk
    numbers that holds the true one in 95 of 100 frames. No label changes.

    **Example**

        speckle calibrate my-network/mono.bundle
        speckle query --frames --flag odd_pixels
        speckle query --frames --possible 7
    """
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.trust import save_trust, trust_path
    from training.trust import fit_trust

    bundle = find_bundle(model)
    if out is None:
        if bundle.path is None:
            raise ValueError("the network was not read from a file: give --out FILE")
        out = trust_path(bundle.path)
    if out.exists() and not force:
        raise ValueError(f"{out} is there already: give another --out, or --force to replace it")
    with progress_bar() as progress:
        task = progress.add_task("drawing frames", total=None, numbers="")
        trust = fit_trust(
            bundle, seed, known, odd, reporter(progress, task, {"calibrate": "looking at frames"}), graded
        )
    path = save_trust(trust, out)
    columns = ("area_under_roc", "flagged", "named")
    shown = table("odd frames held out", *columns, right=columns)
    for flag, numbers in trust.made["held_out"].items():
        shown.add_row(flag, *(f"{numbers[column]:.3f}" for column in columns))
    print_table(shown)
    stdout().print(
        f"{path}: {path.stat().st_size / 1e3:.0f} kB, for {bundle.name} {bundle.version}", markup=False
    )
