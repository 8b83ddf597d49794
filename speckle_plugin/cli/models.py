"""`speckle models`: list networks, take one of others in, give one to others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer
from typer.core import TyperGroup

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.models_list import models
from speckle_plugin.cli.options import new_file, parse_classes

if TYPE_CHECKING:
    from speckle_plugin.preprocessing import Preprocessing

__all__ = ["models_app"]

SHOW = "show"


class _ShowsByDefault(TyperGroup):
    """`speckle models quadrant` shows a network; a name that is no command is one of a network."""

    def parse_args(self, context: Any, arguments: list[str]) -> list[str]:
        """Put the command `show` before what is no command."""
        if not arguments or (arguments[0] not in self.commands and arguments[0] not in ("-h", "--help")):
            arguments = [SHOW, *arguments]
        return super().parse_args(context, arguments)


models_app = typer.Typer(
    cls=_ShowsByDefault, context_settings={"help_option_names": ["-h", "--help"]}, rich_markup_mode="markdown"
)
models_app.command(SHOW)(models)


@models_app.callback()
def _models() -> None:
    r"""List networks, take in one of others, or give one to other programs.

    **Examples**: the list; one in detail; a classifier of one's own, which then runs in scans; an ONNX file.

        speckle models

        speckle models quadrant

        speckle models import rings.keras --classes ring,powder,empty --preprocessing log

        speckle models export quadrant --out quadrant.onnx
    """


@models_app.command("import")
@clear_errors
def import_model(
    file: Annotated[
        Path,
        typer.Argument(help="An .onnx or .keras file, or the folder of a SavedModel.", show_default=False),
    ],
    classes: Annotated[
        str,
        typer.Option(
            help="The class of each output, in order: disk numbers (2-20) or names (ring,powder).",
            show_default=False,
        ),
    ],
    preprocessing: Annotated[
        str,
        typer.Option(
            metavar="none|log|standardize|NAME|PATH",
            help="Of the raw crop of the network's input size; or as that of one of our networks.",
        ),
    ] = "none",
    name: Annotated[
        str | None, typer.Option(help="Of the network, in results.", show_default="that of the file")
    ] = None,
    k_step: Annotated[
        float | None,
        typer.Option(help="Wave number per pixel that it is for.", show_default="any, without a warning"),
    ] = None,
    licence: Annotated[str, typer.Option(help="Whose terms its weights have.", show_default=False)] = "",
    source: Annotated[str, typer.Option(help="Where it is from.", show_default=False)] = "",
    out: Annotated[Path | None, typer.Option(help="The bundle to make.", show_default="NAME.bundle")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    r"""Make a bundle of anybody's classifier, which then labels frames in scans, in files and in stored runs.

    The network takes one image, of 1 or 3 channels, and gives a number for each class: logits or
    probabilities. The raw crop is around the beam; its intensities are taken as they are (none), as
    log(1 + I), or standardized. With names for classes, disk_number in results is the number of the class,
    from 1 on, and runs and frames are found by the name (--label ring).

    **Examples**

        speckle models import rings.keras --classes ring,powder,empty --preprocessing log

        speckle models import disks.onnx --classes 2-20 --preprocessing quadrant --k-step 0.0015708

        speckle classify frames.h5 --model rings.bundle
    """
    from speckle_plugin.network import save_bundle
    from speckle_plugin.network.importing import import_network

    called = name or file.stem
    target = out or Path(f"{called}.bundle")
    with new_file(target, (".bundle",), force) as partial:
        found = import_network(
            file,
            called,
            parse_classes(classes),
            _preprocessing(preprocessing),
            k_step=k_step,
            licence=licence,
            source=source,
        )
        bundle = save_bundle(found, partial)
    form = bundle.form
    assert form is not None  # noqa: S101  an imported network has one
    size = f"{form.rows or 'any'} x {form.columns or 'any'}"
    told = f"takes {size} pixels, {form.channels} channel(s), and gives {form.gives} of {len(bundle.classes)}"
    remark(f"{called} {told} classes")
    stdout().print(f"{target}: {called} {bundle.version}, SHA-256 {bundle.sha256[:12]}", soft_wrap=True)


@models_app.command("export")
@clear_errors
def export_model(
    name: Annotated[str, typer.Argument(metavar="NAME|PATH", help="The network.", show_default=False)],
    out: Annotated[Path, typer.Option(help="The ONNX file to make.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    """Write a network as an ONNX file, for onnxruntime, OpenVINO and other programs.

    Its input is what our preprocessing makes of a view of a frame. Its outputs are the calibrated
    probabilities of that view, logits and features. Classes, k step and preprocessing stand in the file's
    metadata.

    **Example**

        speckle models export quadrant --out quadrant.onnx
    """
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.onnx_export import onnx_bytes

    bundle = find_bundle(name)
    with new_file(out, (".onnx",), force) as partial:
        partial.write_bytes(onnx_bytes(bundle))
    stdout().print(
        f"{out}: {bundle.name} {bundle.version} ({bundle.sha256[:12]}), {out.stat().st_size / 1e6:.0f} MB",
        markup=False,
        soft_wrap=True,
    )


def _preprocessing(text: str) -> Preprocessing | Literal["none", "log", "standardize"]:
    from speckle_plugin.network import find_bundle, shipped_bundles

    scalings: dict[str, Literal["none", "log", "standardize"]] = {
        "none": "none",
        "log": "log",
        "standardize": "standardize",
    }
    if text in scalings:
        return scalings[text]
    if text not in shipped_bundles() and not Path(text).is_file():
        raise ValueError(
            f"the preprocessing {text!r} is not known: give none, log or standardize, or the network whose "
            f"preprocessing it is ({', '.join(shipped_bundles())}, or the path of a bundle)"
        )
    return find_bundle(text).preprocessing
