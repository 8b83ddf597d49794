"""`speckle retrain`: train a network further, on frames that were stored."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.cli.console import print_table, progress_bar, remark, reporter, stdout, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import MaskPolarityOption, mask_of
from speckle_plugin.cli.options import LARGEST_SEED
from speckle_plugin.cli.run_selection import (
    ConfidenceOption,
    FlagOption,
    LabelOption,
    ModelOption,
    PlanOption,
    SinceOption,
    UntilOption,
    WhereOption,
    run_selection,
)
from speckle_plugin.cli.store_options import DEFAULT_DATA, open_store

if TYPE_CHECKING:
    from speckle_plugin.network import Bundle
    from speckle_plugin.store import Store

__all__ = ["retrain"]

STRUCTURE = "structure"
"""In the place of a file of labels: the certified disk numbers."""

DOING = {
    "read": "reading stored frames",
    "train": "training",
    "settle": "settling",
    "calibrate": "calibrating",
    "held out": "measuring on held-out frames",
    "test": "measuring on simulated frames",
}


@clear_errors
def retrain(
    out: Annotated[
        Path | None, typer.Option(help="Folder for checkpoints, logs and the child.", show_default=False)
    ] = None,
    parent: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="See: speckle models.", show_default="quadrant")
    ] = None,
    store: Annotated[
        str,
        typer.Option(
            "--data",
            "--store",
            "--server",
            metavar="PATH|URI|PROFILE",
            help="Data directory, or a Tiled server elsewhere.",
        ),
    ] = "~/speckle-data",
    label: LabelOption = None,
    max_confidence: ConfidenceOption = None,
    flag: FlagOption = None,
    model: ModelOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    plan: PlanOption = None,
    where: WhereOption = None,
    labels: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE|structure",
            help="CSV of run_uid, frame_index, disk_number (and image_key); or structure: the certified "
            "numbers of speckle solve.",
            show_default="the recorded truth",
        ),
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(help="A .npy, .npz or HDF5 file, as for speckle classify.", show_default="no mask"),
    ] = None,
    mask_polarity: MaskPolarityOption = "left-out",
    simulated_share: Annotated[
        float, typer.Option(help="Share of simulated frames in training, 0 to below 1.")
    ] = 0.5,
    held_out: Annotated[
        float, typer.Option(help="Share of stored frames to measure on, in whole runs.")
    ] = 0.2,
    steps: Annotated[int, typer.Option(min=1, help="Updates of the weights.")] = 200,
    batch: Annotated[
        int | None, typer.Option(min=2, help="Frames in each of them.", show_default="the parent's")
    ] = None,
    learning_rate: Annotated[float, typer.Option(help="Highest learning rate.")] = 5e-4,
    test_per_class: Annotated[
        int, typer.Option(min=1, help="Simulated frames of each disk number to measure on.")
    ] = 20,
    seed: Annotated[
        int, typer.Option(min=0, max=LARGEST_SEED, help="Of split, order and simulated frames.")
    ] = 0,
) -> None:
    r"""Train a network further, on stored frames with labels, and measure it beside its parent.

    The frames of the runs that the query finds are split **by run**: on some runs the child is trained, mixed
    with simulated frames like those of its parent; on the others parent and child are measured. Labels are
    the truth that a simulated detector records, or a CSV file (one of speckle query --frames --out serves,
    with the disk numbers corrected), or the certified disk numbers of second opinions, which need no truth.
    The child's file says from which runs and frames it was made.

    Stopped, it goes on from the last checkpoint when the same command is given again.

    **Example**: on all runs of a sample, two or more; then live, with the child.

        speckle demo --family poly --seed 1 --data poly-data
        speckle demo --family poly --seed 2 --data poly-data
        speckle retrain --parent quadrant --store poly-data --where family=poly --out poly-child

        speckle solve --data my-data
        speckle retrain --labels structure --store my-data --where sample=A7 --out taught-child

        speckle demo --model poly-child/quadrant-retrained.bundle --family poly --data check
    """
    import math

    if out is None:
        raise ValueError("give --out FOLDER, where the child and its checkpoints go")
    if not (math.isfinite(learning_rate) and learning_rate > 0):
        raise ValueError(f"the learning rate must be a positive number, not {learning_rate}")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    from speckle_plugin.network import find_bundle

    bundle = find_bundle(parent)
    left_out = mask_of(mask, mask_polarity)
    wanted = run_selection(
        where,
        label=label,
        max_confidence=max_confidence,
        flag=flag,
        model=model,
        since=since,
        until=until,
        plan=plan,
    )
    selection: dict[str, Any] = {
        "store": store.partition("?")[0],
        "query": wanted.query,
        "metadata": wanted.metadata,
    }
    by_structure = labels is not None and str(labels) == STRUCTURE
    if by_structure:
        selection["labels"] = "certified structures"
    else:
        selection["labels"] = "recorded truth" if labels is None else _describe(labels)
    if mask is not None:
        selection["mask"] = _describe(mask)
    with _open_store(store) as opened, progress_bar() as progress:
        task = progress.add_task("finding frames", total=None, numbers="")

        report = reporter(progress, task, DOING)

        from training.retrain import retrain as run_retraining
        from training.stored_frames import frames_of_labels, frames_of_structure, frames_of_truth

        runs = wanted.find(opened.runs)
        if labels is None:
            labelled = frames_of_truth(runs, left_out)
        elif by_structure:
            labelled = frames_of_structure(runs, left_out, bundle.classes)
        else:
            labelled = frames_of_labels(runs, labels, left_out)
        try:
            child = run_retraining(
                bundle,
                labelled,
                out,
                simulated_share=simulated_share,
                held_out_share=held_out,
                steps=steps,
                batch=batch,
                learning_rate=learning_rate,
                test_per_class=test_per_class,
                seed=seed,
                selection=selection,
                report=report,
                say=remark,
            )
        except KeyboardInterrupt:
            progress.stop()
            remark(f"Stopped. If a checkpoint is in {out}, the same command goes on from there.")
            raise
    _tell(bundle, child, out)


def _open_store(store: str) -> Store:
    """Open a data directory, or connect to a server by its address or profile."""
    if "://" in store:
        return open_store(DEFAULT_DATA, store)
    if Path(store).name == store and not Path(store).exists():
        from tiled.profiles import load_profiles

        if store in load_profiles():
            return open_store(DEFAULT_DATA, store)
    return open_store(Path(store), None)


def _describe(path: Path) -> dict[str, str]:
    """Name a file with its hash, so that the child says on what it was trained."""
    import hashlib

    return {"file": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _tell(parent: Bundle, child: Bundle, out: Path) -> None:
    metrics = child.metrics
    shown = table("", "frames", "parent", "child", right=("frames", "parent", "child"))
    for key, what in (("held_out", "stored, held out"), ("test", "simulated, fresh")):
        if key not in metrics:
            continue
        for score in ("accuracy", "within_one", "mean_confidence"):
            shown.add_row(
                f"{what}: {score}",
                str(metrics[key]["frames"]),
                f"{metrics[f'parent_{key}'][score]:.4f}",
                f"{metrics[key][score]:.4f}",
            )
    print_table(shown)
    stdout().print(
        f"{out / f'{child.name}.bundle'}: {child.name} {child.version}, SHA-256 {child.sha256[:12]}, "
        f"parent {parent.name} {parent.version} ({parent.sha256[:12]})",
        markup=False,
        soft_wrap=True,
    )
