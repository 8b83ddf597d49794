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
    head_frames: Annotated[
        int,
        typer.Option(min=0, help="Frames from which a head learns to count disks; 0 for no head."),
    ] = 0,
    folder: Annotated[
        Path | None,
        typer.Option(
            help="Keeps what was seen of all these frames, so that an interrupted fit goes on.",
            show_default="none; for a head runs/head/NAME-ROWS",
        ),
    ] = None,
    head_rows: Annotated[
        int | None,
        typer.Option(
            min=65, help="Pixels from the beam whose spots it counts.", show_default="as the network's frames"
        ),
    ] = None,
    keep_oddness: Annotated[
        bool,
        typer.Option(
            "--keep-oddness",
            help="Take what tells odd frames, and heads of fewer rows, from the file that there is.",
        ),
    ] = False,
    limit_heads: Annotated[
        bool,
        typer.Option(
            "--limit-heads",
            help="Take all from the file that there is, and fit alone how odd a frame may be for its heads.",
        ),
    ] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same frames.")] = 20261128,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Fit what tells frames that a network was not made for, and how sure it may be of the others.

    Draws known frames, as the network was trained on, and odd ones (other numbers, k steps and shapes,
    faults of the detector, a beam that is off, less coherence), some of both with a beam stop, and fits
    detectors of oddness. The network itself stays as it is. The file is found by itself beside the network's
    file; frames that are odd get the flag **out_of_distribution**, and one that says in what they are odd,
    such as **odd_beam**.

    Further frames, of all families of disks, without noise and with it, are classified to see how often the
    network is right. From then on each frame has a confidence that fits its kind, and a set of possible disk
    numbers that holds the true one in 95 of 100 frames. No label changes.

    With --head-frames a head is fitted, too: a perceptron that counts disks by the rings and spots of a
    frame, and is heard beside the network. Then labels do change, and are better. Some 200000 frames are
    wanted, which take an hour or two on two cores; what was seen of them is kept in a folder, from which an
    interrupted fit goes on. A second head for larger frames, with --head-rows and --keep-oddness, is heard
    after the first one where a frame has so many pixels from the beam; fit it again after the first one.
    Frames that are odder than the graded ones are left to the network; a file whose heads were fitted before
    there was such a limit gets it by --limit-heads, and all else stays as it is.

    **Example**

        speckle calibrate my-network/mono.bundle
        speckle calibrate my-network/mono.bundle --force --head-frames 200000
        speckle calibrate my-network/mono.bundle --force --head-frames 80000 --head-rows 513 --keep-oddness
        speckle calibrate my-network/mono.bundle --force --limit-heads
        speckle query --frames --flag odd_pixels
        speckle query --frames --possible 7
    """
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.trust import find_trust, save_trust, trust_path
    from training.head import draw_head_frames, fit_head, maps_of
    from training.looks import looked_range
    from training.trust import fit_trust, recipe_of
    from training.trust import limit_heads as fit_limits

    bundle = find_bundle(model)
    if out is None:
        if bundle.path is None:
            raise ValueError("the network was not read from a file: give --out FILE")
        out = trust_path(bundle.path)
    if out.exists() and not force:
        raise ValueError(f"{out} is there already: give another --out, or --force to replace it")
    kept = find_trust(bundle) if keep_oddness or limit_heads else None
    if kept is None and (keep_oddness or limit_heads):
        leave = "--limit-heads" if limit_heads else "--keep-oddness"
        raise ValueError(f"there is no trust file for {bundle.name} to keep anything of: leave {leave}")
    if limit_heads and (head_frames or keep_oddness):
        raise ValueError(
            "--limit-heads is for heads that were fitted before, and keeps all: leave --head-frames and "
            "--keep-oddness"
        )
    if limit_heads and kept and not kept.heads:
        raise ValueError(f"the trust file of {bundle.name} has no head to limit: leave --limit-heads")
    if head_rows and not head_frames:
        raise ValueError("--head-rows is for a head: give --head-frames, too")
    if (head_frames or limit_heads) and not graded:
        raise ValueError("a head is joined with the network by graded frames: give --graded, or no head")
    least = looked_range(bundle, recipe_of(bundle))
    if head_rows and head_rows < least:
        raise ValueError(f"--head-rows is {head_rows}: expected {least}, as {bundle.name} has, or more")
    if head_rows and kept is None and head_rows != least:
        raise ValueError("a head of other rows comes beside what was fitted: give --keep-oddness")
    with progress_bar() as progress:
        task = progress.add_task("drawing frames", total=None, numbers="")
        phases = {
            "calibrate": "known and odd frames",
            "head": "frames for the head",
            "grade": "graded frames",
        }
        report = reporter(progress, task, {name: f"looking at {of}" for name, of in phases.items()})
        head = None
        if head_frames:
            recipe = recipe_of(bundle)
            rows = head_rows or least
            folder = folder or Path("runs/head") / f"{bundle.name}-{rows}"
            frames = draw_head_frames(bundle, recipe, rows, seed, head_frames, folder, report)
            head = fit_head(frames, bundle.classes, maps_of(recipe, rows), seed, report)
        if limit_heads and kept:
            trust = fit_limits(bundle, kept, seed, graded, report, folder)
        else:
            trust = fit_trust(bundle, seed, known, odd, report, graded, head, kept, folder)
    path = save_trust(trust, out)
    columns = ("area_under_roc", "flagged", "named")
    shown = table("odd frames held out", *columns, right=columns)
    for flag, numbers in trust.made["held_out"].items():
        shown.add_row(flag, *(f"{numbers[column]:.3f}" for column in columns))
    print_table(shown)
    for rows, of_head in trust.made.get("heads", {}).items():
        voices = ("network", "head", "joined")
        heard = table(f"right labels of graded frames, head of {rows} rows", *voices, right=voices)
        for group, numbers in of_head["accuracy"].items():
            heard.add_row(group, *(f"{numbers[voice]:.3f}" for voice in voices))
        print_table(heard)
        if "heard" in of_head:
            stdout().print(f"heard of frames whose score of oddness is {of_head['heard']:.2f} at most")
    stdout().print(
        f"{path}: {path.stat().st_size / 1e3:.0f} kB, for {bundle.name} {bundle.version}", markup=False
    )
