"""`speckle doctor`: whether everything is there that a session needs, and what to do where it is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import FILES_HELP, DatasetOption
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption

__all__ = ["doctor"]

BROKEN = 1
"""Exit code when something is broken."""


@clear_errors
def doctor(
    file: Annotated[
        Path | None,
        typer.Option(
            help=f"Frames of your detector: how would they be taken? {FILES_HELP}", show_default=False
        ),
    ] = None,
    dataset: DatasetOption = None,
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
) -> None:
    """Look at installation, network, data directory and server, and tell what to do where something lacks.

    With **--file**, the first frame of a file is taken as a session would: what is read, which mask and beam
    centre, whether the k step is that of the network, and whether the frame would get a label.
    The exit code is 1 if something is broken, and 0 if there are notes only.

    **Example**: a frame of the detector, before the first scan with it.

        speckle doctor --file scan_0001.h5
    """
    from speckle_plugin.doctor import Level, examine

    console = stdout()
    colours = {Level.FINE: "green", Level.NOTE: "yellow", Level.BROKEN: "bold red"}
    levels = []
    for finding in examine(data, server, file, dataset):
        levels.append(finding.level)
        style = colours[finding.level]
        console.print(f"[{style}]{finding.level:<7}[/]", end="")
        console.print(f"{finding.subject}: {' '.join(finding.text.split())}", markup=False, soft_wrap=True)
        if finding.remedy:
            console.print(f"       -> {' '.join(finding.remedy.split())}", markup=False, soft_wrap=True)
    number = levels.count(Level.BROKEN)
    if number:
        remark(f"{number} broken: see the lines marked so")
        raise typer.Exit(BROKEN)
    remark("nothing is broken")
