"""`speckle solve`: the disks of every frame, computed, with a certificate."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import progress_bar, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import (
    FILES_HELP,
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
    turned,
)
from speckle_plugin.cli.options import parse_numbers
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
from speckle_plugin.cli.structure_output import print_structures, structure_files

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import Any

    from numpy.typing import NDArray

    from speckle_plugin.cli.structure_output import StructureFiles
    from speckle_plugin.frames.files import FrameFile
    from speckle_plugin.solving import SolveTask

__all__ = ["solve"]


@clear_errors
def solve(
    file: Annotated[Path, typer.Argument(help=FILES_HELP, show_default=False)],
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
    orientation: OrientationOption = "as-stored",
    frames: Annotated[
        str | None, typer.Option(help="Frames to solve, such as 0-9 or 3,7.", show_default="all")
    ] = None,
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
    r"""Compute the disks of every frame in a file: centres, radii, and a certificate.

    A frame is **solved** if the disks explain it and no other could hide; **not_explained** if none that were
    found do: it shows something else, or beam centre, k step or mask are wrong; **undecided** if the frame
    does not tell. Only the first is to be believed. The table has one row for each frame: frame_index,
    disk_number, certificate, residual, seconds. Beam centre and a constant background are fitted where the
    frame asks for it. It takes about a second a frame.

    **Example**: frames of a file, the disks beside it, and a picture of each.

        speckle solve frames.h5 --frames 0-9 --out results.csv --disks disks.h5 --pictures solved
    """
    from dataclasses import replace

    import numpy as np

    from speckle_plugin.frames.files import open_frames
    from speckle_plugin.preprocessing import FrameGeometry
    from speckle_plugin.solving import SolveTask

    opened = turned(open_frames(file, dataset), orientation)
    beam = BeamOptions(grid, beam_center, beam_center_order, geometry_file, orientation)
    center, stated_k_step = beam.of_file(opened)
    step = k_step or stated_k_step
    if step is None:
        raise ValueError(
            f"{file} does not say its wave number per pixel, which the lengths come from: give --k-step, "
            "--geometry, or --grid"
        )
    if center is None:
        raise ValueError(
            f"{file} does not say where the beam is: give --grid, --beam-center or --geometry; see speckle "
            "center"
        )
    settings = solve_settings(noise, dark_level, readout_noise, point_spread, smallest_radius, budget)
    settings = replace(settings, saturation_level=opened.statements.saturation_level)
    left_out = mask_of(mask, mask_polarity, opened.statements.mask)
    template = SolveTask(np.empty(0), FrameGeometry(opened.shape[1:], center, left_out), step, settings)
    chosen = range(opened.shape[0]) if frames is None else parse_numbers(frames, "frames")
    truth = opened.statements.disk_number
    with structure_files(out, disks, pictures, force) as files:
        _solve_each(opened, chosen, template, workers or os.cpu_count() or 1, files)
    print_structures(files.rows, None if truth is None else truth[list(chosen)])
    if made := [str(path) for path in (out, disks, pictures) if path is not None]:
        stdout().print(f"results in {', '.join(made)}", markup=False, soft_wrap=True)


def _solve_each(
    frames: FrameFile, chosen: Sequence[int], template: SolveTask, workers: int, files: StructureFiles
) -> None:
    from dataclasses import replace

    from speckle_plugin.solving import SolverPool
    from speckle_plugin.solving.rows import opinion_row
    from speckle_plugin.structure import Structure

    kept: dict[int, NDArray[Any]] = {}

    def tasks() -> Iterator[SolveTask]:
        for index, frame in zip(chosen, _read(frames, chosen), strict=True):
            if files.draws:
                kept[index] = frame
            yield replace(template, frame=frame)

    with SolverPool(min(workers, len(chosen))) as pool, progress_bar() as progress:
        task = progress.add_task("solving", total=len(chosen), numbers="")
        for index, outcome in zip(chosen, pool.solve_each(tasks()), strict=True):
            files.add({"frame_index": index, **opinion_row(outcome, template.settings.most_disks)})
            if files.draws and isinstance(outcome, Structure):
                files.draw(f"frame {index}", outcome, kept.pop(index), template.geometry)
            progress.advance(task)


def _read(frames: FrameFile, chosen: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames one after the other; all of a file in one go."""
    if isinstance(chosen, range):
        for block in frames.read_blocks(1):
            yield block[0]
    else:
        for index in chosen:
            yield frames.read_frame(index)
