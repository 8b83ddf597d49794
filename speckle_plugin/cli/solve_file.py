"""The frames of a file, solved: `speckle solve FILE`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.cli.console import progress_bar
from speckle_plugin.cli.frame_options import BeamOptions, turned
from speckle_plugin.cli.options import parse_numbers
from speckle_plugin.cli.structure_output import StructureFiles
from speckle_plugin.frames.checks import corrected_values
from speckle_plugin.frames.files import FrameFile, open_frames
from speckle_plugin.preprocessing import Correction, FrameGeometry
from speckle_plugin.solving import SolverPool, SolveTask
from speckle_plugin.solving.rows import opinion_row
from speckle_plugin.structure import SolveSettings, Structure

__all__ = ["open_file", "solve_file"]


def open_file(
    file: Path, dataset: str | None, beam: BeamOptions, k_step: float | None
) -> tuple[FrameFile, tuple[float, float], float]:
    """Open a file, and give its frames, beam centre and wave number per pixel.

    Raises
    ------
    ValueError
        If neither the file nor the options say where the beam is, or the wave number.
    """
    opened = turned(open_frames(file, dataset), beam.orientation)
    center, stated = beam.of_file(opened)
    step = stated if k_step is None else k_step
    if step is None:
        raise ValueError(
            f"{file} does not say its wave number per pixel, which the lengths come from: give `k_step`, "
            "`geometry_file`, or `grid`"
        )
    if center is None:
        raise ValueError(
            f"{file} does not say where the beam is: give `grid`, `beam_center` or `geometry_file`; see "
            "speckle center"
        )
    return opened, center, step


def solve_file(
    frames: FrameFile,
    geometry: FrameGeometry,
    k_step: float,
    chosen: str | None,
    settings: SolveSettings,
    workers: int,
    files: StructureFiles,
    correction: Correction | None = None,
) -> NDArray[np.int64] | None:
    """Solve frames of a file, write what is asked for, and give their ground truth if the file holds it."""
    settings = replace(settings, saturation_level=frames.statements.saturation_level)
    correct, settings = _correcting(correction, settings, frames.dtype)
    indices = range(frames.shape[0]) if chosen is None else parse_numbers(chosen, "frames")
    kept: dict[int, NDArray[Any]] = {}

    def tasks() -> Iterator[SolveTask]:
        for index, raw in zip(indices, _read(frames, indices), strict=True):
            frame = correct(raw)
            if files.draws:
                kept[index] = frame
            yield SolveTask(frame, geometry, k_step, settings)

    with SolverPool(min(workers, len(indices))) as pool, progress_bar() as progress:
        task = progress.add_task("solving", total=len(indices), numbers="")
        for index, outcome in zip(indices, pool.solve_each(tasks()), strict=True):
            files.add({"frame_index": index, **opinion_row(outcome, settings.most_disks)})
            if files.draws and isinstance(outcome, Structure):
                files.draw(f"frame {index}", outcome, kept.pop(index), geometry)
            progress.advance(task)
    truth = frames.statements.disk_number
    return None if truth is None else truth[list(indices)]


def _correcting(
    correction: Correction | None, settings: SolveSettings, dtype: np.dtype[Any]
) -> tuple[Callable[[NDArray[Any]], NDArray[Any]], SolveSettings]:
    """Give what corrects a frame for the solution, and the settings that then hold.

    The mean of the dark frames is added again and said to be the dark level, so that noise does not make
    values negative. Integers that are corrected are counts still, as their noise is.
    """
    if correction is None:
        return lambda raw: raw, settings
    level = 0.0 if correction.dark is None else float(correction.dark.mean())
    counts = settings.noise == "auto" and dtype.kind in "iu"
    saturated = settings.saturation_level
    if saturated is None and dtype.kind in "iu":
        saturated = float(np.iinfo(dtype).max)

    def correct(raw: NDArray[Any]) -> NDArray[Any]:
        values = corrected_values(raw, correction) + np.float32(level)
        return values if saturated is None else np.where(raw >= saturated, np.float32(np.nan), values)

    return correct, replace(
        settings,
        noise="counts" if counts else settings.noise,
        dark_level=settings.dark_level + level,
        saturation_level=None,
    )


def _read(frames: FrameFile, indices: Sequence[int]) -> Iterator[NDArray[Any]]:
    """Read frames one after the other; all of a file in one go."""
    if isinstance(indices, range):
        for block in frames.read_blocks(1):
            yield block[0]
    else:
        for index in indices:
            yield frames.read_frame(index)
