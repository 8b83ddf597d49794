"""Dark frames and flat fields for frames of files: `--dark` and `--flat`, corrected by as during a scan."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.schema import OrientationName

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speckle_plugin.preprocessing import Correction

__all__ = ["DarkFramesOption", "FlatFieldOption", "read_correction"]

FRAMES_AT_ONCE = 4

DarkFramesOption = Annotated[
    str | None,
    typer.Option(
        "--dark",
        metavar="FILE[::DATASET]",
        help="Dark frames, whose mean is subtracted from each frame.",
        show_default=False,
    ),
]
FlatFieldOption = Annotated[
    str | None,
    typer.Option(
        "--flat",
        metavar="FILE[::DATASET]",
        help="Flat fields, by whose mean each frame is divided.",
        show_default=False,
    ),
]


def read_correction(
    dark: str | None, flat: str | None, shape: tuple[int, int], orientation: OrientationName
) -> Correction | None:
    """Read what frames are corrected by; None if nothing was given.

    Parameters
    ----------
    dark, flat : str or None
        The options.
    shape : tuple of int
        Rows and columns of the frames, turned already.
    orientation : str
        How these were turned, and dark frames and flat fields with them.

    Raises
    ------
    ValueError
        If a file can't be read, or holds frames of another shape.
    """
    if dark is None and flat is None:
        return None
    from speckle_plugin.frames.correction_frames import mean_frame
    from speckle_plugin.preprocessing import Correction

    means = []
    for option, given in (("--dark", dark), ("--flat", flat)):
        mean, problem = (None, "") if given is None else mean_frame(_frames(given, orientation), shape)
        if problem:
            raise ValueError(f"frames can't be corrected by {option} {given}: {problem}")
        means.append(mean)
    return Correction(*means)


def _frames(given: str, orientation: OrientationName) -> Iterator[NDArray[Any]]:
    from speckle_plugin.frames.files import open_frames
    from speckle_plugin.preprocessing.orientation import ORIENTATIONS

    name, _, dataset = given.partition("::")
    for block in (
        open_frames(Path(name), dataset or None).turned(ORIENTATIONS[orientation]).read_blocks(FRAMES_AT_ONCE)
    ):
        yield from block
