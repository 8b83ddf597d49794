"""Options that the commands on frames share: which array, where the beam is, what is masked."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.options import GridName, parse_beam_center

if TYPE_CHECKING:
    from speckle_plugin.frames.files import FrameFile

__all__ = ["BeamCenterOption", "DatasetOption", "GridOption", "MaskOption", "beam_of", "stated_beam"]

DatasetOption = Annotated[
    str | None, typer.Option(help="Array of frames in it.", show_default="frames, or /entry/data/data")
]
GridOption = Annotated[
    GridName | None,
    typer.Option(
        help="Where the beam is: in the corner, in the middle, or as published.", show_default=False
    ),
]
BeamCenterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ROW,COLUMN",
        help="Pixel of the beam, for any other detector.",
        show_default="what the file says",
    ),
]
MaskOption = Annotated[
    Path | None,
    typer.Option(help="A .npy, .npz or HDF5 file: true where a pixel is left out.", show_default="no mask"),
]


def stated_beam(
    shape: tuple[int, ...], grid: GridName | None, beam_center: str | None
) -> tuple[tuple[float, float] | None, float | None]:
    """Give beam centre and pitch as far as the options state them.

    Parameters
    ----------
    shape : tuple of int
        Its last two are the rows and columns of a frame.
    grid : str or None
    beam_center : str or None
        As `ROW,COLUMN`.

    Raises
    ------
    ValueError
        If both options are given, or the beam centre can't be read.
    """
    if grid is not None and beam_center is not None:
        raise ValueError("give either --grid or --beam-center, not both")
    if beam_center is not None:
        return parse_beam_center(beam_center), None
    if grid is None:
        return None, None
    from simulated_devices import grid_by_name

    rows, columns = shape[-2:]
    center = (0.0, 0.0) if grid == "quadrant" else ((rows - 1) / 2, (columns - 1) / 2)
    return center, grid_by_name(grid).pitch


def beam_of(
    frames: FrameFile, grid: GridName | None, beam_center: str | None
) -> tuple[tuple[float, float], float | None, bool]:
    """Give beam centre and pitch of a file's frames, and whether the centre is only assumed.

    Raises
    ------
    ValueError
        If both options are given, or the beam centre can't be read.
    """
    from speckle_plugin.schema import ASSUMED_CENTER

    center, pitch = stated_beam(frames.shape, grid, beam_center)
    assumed = center is None and frames.beam_center is None
    return center or frames.beam_center or ASSUMED_CENTER, pitch or frames.pitch, assumed
