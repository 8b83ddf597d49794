"""`speckle report`: a stored run as one HTML file that can be mailed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.frame_options import MaskOption, MaskPolarityOption, mask_of
from speckle_plugin.cli.options import new_file
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store

__all__ = ["report"]


@clear_errors
def report(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="Uid or its beginning, scan id, or last.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="The .html file to make.", show_default=False)],
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    frames: Annotated[
        int, typer.Option(min=0, max=50, help="How many of the least certain frames to show.")
    ] = 6,
    saliency: Annotated[
        bool,
        typer.Option(
            "--saliency/--no-saliency", help="Show which of their pixels count; that takes TensorFlow."
        ),
    ] = True,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="PATH", help="Bundle that labelled the run.", show_default="the shipped one that did"
        ),
    ] = None,
    mask: MaskOption = None,
    mask_polarity: MaskPolarityOption = "left-out",
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a stored run into one HTML file, with its pictures inside, to be mailed or kept.

    It shows the map of disk numbers or the line, the frame counts, the flags and what they mean, the least
    certain frames with the pixels that count, the solved sample where there is one, the network, and the
    settings. The mask of a session is not stored: give it again, for the pixels that count.

    **Example**: the newest run.

        speckle report last --data demo-output --out report.html
    """
    from speckle_plugin.cli.named_runs import named_runs
    from speckle_plugin.network import find_bundle
    from speckle_plugin.report import write_report
    from speckle_plugin.store import StoredRun

    bundle = None if model is None else find_bundle(model)
    left_out = mask_of(mask, mask_polarity)
    with new_file(out, (".html",), force) as partial, open_store(data, server) as store:
        (chosen,) = named_runs(store, [run])
        stored = StoredRun(chosen)
        settings = stored.settings
        if left_out is not None:
            keys = [images.data_key for images in stored.images.values()]
            settings = replace(settings, masks=dict.fromkeys(keys, left_out))
        remark(f"writing the report of scan {stored.start.get('scan_id', '?')} ({stored.uid[:8]}) ...")
        write_report(chosen, partial, frames=frames, saliency=saliency, settings=settings, bundle=bundle)
        size = partial.stat().st_size
    stdout().print(f"{out} ({size / 1e6:.1f} MB)", markup=False, soft_wrap=True)
