"""Options that the commands on frames share: which array, where the beam is, what is masked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from speckle_plugin.cli.console import remark
from speckle_plugin.cli.options import CenterOrder, GridName, parse_beam_center
from speckle_plugin.schema import OrientationName

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from speckle_plugin.frames.files import FrameFile

__all__ = [
    "BeamCenterOption",
    "BeamOptions",
    "CenterOrderOption",
    "DatasetOption",
    "FILES_HELP",
    "GeometryOption",
    "GridOption",
    "MaskOption",
    "MaskPolarityOption",
    "OrientationOption",
    "PolarityName",
    "mask_of",
    "turned",
]

# The library's own list, said again: importing it takes seconds, and the help must not. A test compares.
PolarityName = Literal["left-out", "used"]

FILES_HELP = "HDF5, .npy, .npz, TIFF, CBF or EDF; several by a pattern in quotes: 'scan_*.tif'."

DatasetOption = Annotated[
    str | None, typer.Option(help="Array of frames in a HDF5 or .npz file.", show_default="found")
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
        help="Pixel of the beam, for any other detector; see speckle center.",
        show_default="what the file says",
    ),
]
CenterOrderOption = Annotated[
    CenterOrder, typer.Option("--beam-center-order", help="Order of its two numbers; x is the column.")
]
GeometryOption = Annotated[
    Path | None,
    typer.Option("--geometry", help="A PONI or NeXus file with beam centre and k step.", show_default=False),
]
OrientationOption = Annotated[
    OrientationName,
    typer.Option(
        help="Turn frames, and what their files say, so that they stand as --mask and --beam-center do."
    ),
]
MaskOption = Annotated[
    Path | None,
    typer.Option(
        help="A .npy, .npz, TIFF, EDF, .msk or HDF5 file: true where a pixel is left out.",
        show_default="what the file says",
    ),
]
MaskPolarityOption = Annotated[
    PolarityName, typer.Option("--mask-polarity", help="What a 1 of the mask says of its pixel.")
]


@dataclass(frozen=True)
class BeamOptions:
    """What options say of beam centre and k step.

    Parameters
    ----------
    grid : str or None
    beam_center : str or None
        As `ROW,COLUMN`, or `X,Y`, according to `order`.
    order : str
    geometry : Path or None
        A PONI or NeXus file.
    orientation : str
    """

    grid: GridName | None = None
    beam_center: str | None = None
    order: CenterOrder = "row-column"
    geometry: Path | None = None
    orientation: OrientationName = "as-stored"

    def stated(self, shape: tuple[int, ...]) -> tuple[tuple[float, float] | None, float | None]:
        """Give beam centre and k step as far as the options state them.

        Parameters
        ----------
        shape : tuple of int
            Its last two are the rows and columns of a frame, turned already.

        Raises
        ------
        ValueError
            If two options contradict each other, or one can't be read.
        """
        if self.grid is not None and (self.beam_center is not None or self.geometry is not None):
            raise ValueError("give either --grid or --beam-center and --geometry, not both")
        if self.grid is not None:
            from simulated_devices import grid_by_name

            rows, columns = shape[-2:]
            center = (0.0, 0.0) if self.grid == "quadrant" else ((rows - 1) / 2, (columns - 1) / 2)
            return center, grid_by_name(self.grid).pitch
        given = None if self.beam_center is None else parse_beam_center(self.beam_center, self.order)
        if self.geometry is None:
            return given, None
        from speckle_plugin.frames.geometry_file import read_geometry
        from speckle_plugin.preprocessing.orientation import ORIENTATIONS

        described = read_geometry(self.geometry)
        orientation = ORIENTATIONS[self.orientation]
        if given is None and described.beam_center is not None:
            as_stored = orientation.turn_shape((shape[-2], shape[-1]))
            given = orientation.turn_point(described.beam_center, as_stored)
        return given, described.k_step

    def of_file(self, frames: FrameFile) -> tuple[tuple[float, float] | None, float | None]:
        """Give beam centre and k step of a file's frames; None where nothing says it.

        The options come first, then the file, then the settings, as in a session.
        """
        from speckle_plugin.settings import read_settings

        center, k_step = self.stated(frames.shape)
        of_settings = read_settings().read_beam()
        center = center or frames.statements.beam_center or of_settings[0]
        return center, k_step or frames.statements.k_step or of_settings[1]


def turned(frames: FrameFile, orientation: OrientationName) -> FrameFile:
    """Give frames in the orientation of an option."""
    from speckle_plugin.preprocessing.orientation import ORIENTATIONS

    return frames.turned(ORIENTATIONS[orientation])


def mask_of(
    path: Path | None,
    polarity: PolarityName,
    own: NDArray[np.bool_] | None = None,
    shape: tuple[int, ...] | None = None,
) -> NDArray[np.bool_] | None:
    """Read the mask of an option, and join it with what the frames' file leaves out itself.

    A mask that looks inverted is told on stderr. Where the option is not given, the mask of the settings
    that has the `shape` of the frames is taken.
    """
    if path is None:
        found = None if shape is None else _mask_of_settings(shape)
        return own if found is None else found if own is None else found | own
    from speckle_plugin.frames.masks import looks_inverted, read_mask

    mask = read_mask(path, polarity)
    if looks_inverted(mask):
        other = "used" if polarity == "left-out" else "left-out"
        remark(
            f"WARNING: the mask {path} leaves out {mask.mean():.0%} of the pixels. It looks inverted: "
            f"if so, give --mask-polarity {other}"
        )
    return mask | own if own is not None and own.shape == mask.shape else mask


def _mask_of_settings(shape: tuple[int, ...]) -> NDArray[np.bool_] | None:
    from speckle_plugin.settings import read_settings

    masks = read_settings().read_masks()
    for name, mask in masks.items():
        if mask.shape == shape:
            remark(f"mask of the settings: {name}")
            return mask
    if masks:
        remark(f"no mask of the settings has the shape {shape} of these frames: none is used")
    return None
