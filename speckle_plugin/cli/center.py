"""`speckle center`: where the beam is on a frame."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import (
    FILES_HELP,
    DatasetOption,
    MaskOption,
    MaskPolarityOption,
    OrientationOption,
    mask_of,
    turned,
)
from speckle_plugin.cli.options import new_file

__all__ = ["center"]

RESOLUTION = 110
"""Points per inch of the picture."""


@clear_errors
def center(
    file: Annotated[Path, typer.Argument(help=FILES_HELP, show_default=False)],
    frame_index: Annotated[int, typer.Option(min=0, help="Which frame, counted from 0.")] = 0,
    dataset: DatasetOption = None,
    mask: MaskOption = None,
    mask_polarity: MaskPolarityOption = "left-out",
    orientation: OrientationOption = "as-stored",
    out: Annotated[
        Path | None, typer.Option(help="Picture to make: .png, .pdf or .svg.", show_default="none")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Find the beam on a frame by its inversion symmetry, to a tenth of a pixel.

    A scattering pattern is like itself turned by half a turn about the beam. It needs pixels on both sides of
    the beam; a beam stop, gaps and dead pixels do no harm if a mask or the detector says so. The line that is
    printed is what --beam-center of the other commands takes. The picture shows the frame around the beam
    beside the turned one: they are alike, if the centre is right.

    **Example**

        speckle center scan.h5 --frame-index 3 --mask dead_pixels.npy --out center.png
    """
    from speckle_plugin.frames.center import find_center
    from speckle_plugin.frames.files import open_frames
    from speckle_plugin.preprocessing.marked_pixels import marked_pixels

    frames = turned(open_frames(file, dataset), orientation)
    left_out = mask_of(mask, mask_polarity, frames.statements.mask, frames.shape[1:])
    if left_out is not None and left_out.shape != frames.shape[1:]:
        raise ValueError(f"the mask has the shape {left_out.shape}, the frames have {frames.shape[1:]}")
    frame = frames.read_frame(frame_index)
    marked = marked_pixels(frame)
    if marked is not None:
        left_out = marked if left_out is None else marked | left_out
    found = find_center(frame, left_out)
    if out is not None:
        from speckle_plugin.explain.center_picture import center_picture

        with new_file(out, (".png", ".pdf", ".svg"), force) as partial:
            title = f"{file.name}, frame {frame_index}"
            figure = center_picture(frame, found, left_out, title)
            figure.savefig(partial, format=out.suffix[1:], dpi=RESOLUTION)
    console = stdout()
    console.print(
        f"--beam-center {found.row:.2f},{found.column:.2f}", markup=False, highlight=False, soft_wrap=True
    )
    stated = frames.statements.beam_center
    console.print(
        f"row {found.row:.2f}, column {found.column:.2f} (± {found.uncertainty:.2f}), symmetry "
        f"{found.symmetry:.2f} of 1"
        + (f"; the file says {stated[0]:.2f}, {stated[1]:.2f}" if stated else "")
        + (f"; picture in {out}" if out else ""),
        markup=False,
        soft_wrap=True,
    )
