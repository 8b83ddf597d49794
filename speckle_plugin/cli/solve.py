"""`speckle solve`: the disks of every frame, computed, with a certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

import typer

from speckle_plugin.cli.console import stdout
from speckle_plugin.cli.correction_options import DarkFramesOption, FlatFieldOption, read_correction
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import (
    BeamCenterOption,
    BeamOptions,
    CenterOrderOption,
    DatasetOption,
    GeometryOption,
    GridOption,
    MaskOption,
    MaskPolarityOption,
    OrientationOption,
    mask_of,
)
from speckle_plugin.cli.named_runs import NOT_COMPLETE, EverythingOption
from speckle_plugin.cli.options import parse_beam_center
from speckle_plugin.cli.solver_options import (
    BudgetOption,
    DarkOption,
    NoiseOption,
    PointSpreadOption,
    ReadoutOption,
    SmallestOption,
    WorkersOption,
    solve_settings,
)
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store
from speckle_plugin.cli.structure_output import CSV_COLUMNS, print_structures, structure_files

__all__ = ["solve"]


@clear_errors
def solve(
    targets: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[FILE | RUN...]",
            help="A file of frames, or stored runs by uid or scan id.",
            show_default="all stored runs with frames left",
        ),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    dataset: DatasetOption = None,
    grid: GridOption = None,
    beam_center: BeamCenterOption = None,
    beam_center_order: CenterOrderOption = "row-column",
    geometry_file: GeometryOption = None,
    k_step: Annotated[
        float | None,
        typer.Option(help="Wave number per pixel; lengths come in its inverse.", show_default="the file's"),
    ] = None,
    mask: MaskOption = None,
    mask_polarity: MaskPolarityOption = "left-out",
    dark: DarkFramesOption = None,
    flat: FlatFieldOption = None,
    orientation: OrientationOption = "as-stored",
    frames: Annotated[
        str | None, typer.Option(help="Frames of a file, such as 0-9 or 3,7.", show_default="all")
    ] = None,
    which: Annotated[
        Literal["unsure", "all"] | None,
        typer.Option(help="Frames of a run.", show_default="those that were asked for; else all"),
    ] = None,
    max_confidence: Annotated[float, typer.Option(help="For unsure: what counts as sure.")] = 0.8,
    everything: EverythingOption = False,
    noise: NoiseOption = "auto",
    dark_level: DarkOption = 0.0,
    readout_noise: ReadoutOption = 0.0,
    point_spread: PointSpreadOption = 0.0,
    smallest_radius: SmallestOption = None,
    budget: BudgetOption = 20.0,
    workers: WorkersOption = None,
    out: Annotated[
        Path | None, typer.Option(help="Table of results to make: .csv.", show_default=False)
    ] = None,
    disks: Annotated[
        Path | None, typer.Option(help="File of all disks to make: .h5 or .json.", show_default=False)
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder for a picture of each frame.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    r"""Compute the disks of frames: centres, radii, and a certificate.

    A frame is **solved** if the disks explain it and no other could hide; **not_explained** if none that were
    found do: it shows something else, or beam centre, k step or mask are wrong; **undecided** if the frame
    does not tell. Only the first is to be believed. The table has one row for each frame: frame_index,
    disk_number, certificate, residual, seconds. Beam centre and a constant background are fitted where the
    frame asks for it. It takes about a second a frame.

    Of stored runs those frames are solved that a second opinion during the scan left, or all if none was
    asked. The answers go into a new stream, structure_2 and so on, which holds all earlier ones too. Stopped,
    the same command goes on where it was.

    **Examples**: frames of a file, and a picture of each; what is left of all runs; two runs.

        speckle solve frames.h5 --frames 0-9 --out results.csv --disks disks.h5 --pictures solved

        speckle solve --data demo-output

        speckle solve --data demo-output 12 4f0c6b2e --disks disks.h5
    """
    settings = solve_settings(noise, dark_level, readout_noise, point_spread, smallest_radius, budget)
    processes = workers or os.cpu_count() or 1
    beam = BeamOptions(grid, beam_center, beam_center_order, geometry_file, orientation)
    names = targets or []
    file = names[0] if len(names) == 1 and _is_file(names[0]) else None
    if file is not None:
        from speckle_plugin.cli.solve_file import open_file, solve_file
        from speckle_plugin.preprocessing import FrameGeometry
        from speckle_plugin.structure import check_geometry

        if dark is not None and dark_level:
            raise ValueError("give either --dark, or its level by `dark_level`, not both")
        opened, center, step = open_file(Path(file), dataset, beam, k_step)
        shape = opened.shape[1:]
        geometry = FrameGeometry(shape, center, mask_of(mask, mask_polarity, opened.statements.mask, shape))
        check_geometry(geometry, step, settings)
        correction = read_correction(dark, flat, shape, orientation)
        with structure_files(out, disks, pictures, force) as files:
            truth = solve_file(opened, geometry, step, frames, settings, processes, files, correction)
        print_structures(files.rows, truth)
    else:
        if everything and not names:
            raise ValueError(
                "`everything` needs the runs whose frames are to be solved again: give uids or scan ids"
            )
        if frames is not None:
            raise ValueError("`frames` are those of a file; for a run give `which`")
        if dark is not None or flat is not None:
            raise ValueError("--dark and --flat are for frames of a file; for a run give `dark_level`")
        from speckle_plugin.cli.solve_runs import solve_runs
        from speckle_plugin.structure import SolveSettings

        told = None if beam_center is None else parse_beam_center(beam_center, beam_center_order)
        columns = ("run_uid", "image_key", *CSV_COLUMNS)
        with (
            open_store(data, server) as store,
            structure_files(out, disks, pictures, force, columns) as files,
        ):
            whole = solve_runs(
                store,
                names,
                asked=which,
                max_confidence=max_confidence,
                settings=None if settings == SolveSettings() else settings,
                masks=mask_of(mask, mask_polarity),
                beam_center=told,
                everything=everything,
                workers=processes,
                files=files,
                replay=server is None,
            )
        print_structures(files.rows, names=("run_uid", "image_key"))
    if made := [str(path) for path in (out, disks, pictures) if path is not None]:
        stdout().print(f"results in {', '.join(made)}", markup=False, soft_wrap=True)
    if file is None and not whole:
        raise typer.Exit(NOT_COMPLETE)


def _is_file(target: str) -> bool:
    """Tell a file, or a pattern for some, from a run: uids and scan ids have neither dots nor slashes."""
    return Path(target).is_file() or any(sign in target for sign in "./*?")
