"""`speckle explain`: what the network looks at in a frame."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.cli.console import progress_bar, remark, stdout
from speckle_plugin.cli.correction_options import DarkFramesOption, FlatFieldOption, read_correction
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
from speckle_plugin.cli.options import new_file
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speckle_plugin.explain.saliency import Explanation
    from speckle_plugin.network import Bundle
    from speckle_plugin.preprocessing import Correction, FrameGeometry
    from speckle_plugin.preprocessing.orientation import Orientation

__all__ = ["explain"]

RESOLUTION = 110
"""Points per inch of the picture."""


@clear_errors
def explain(
    file: Annotated[Path | None, typer.Argument(help=FILES_HELP, show_default=False)] = None,
    frame_index: Annotated[int, typer.Option(min=0, help="Which frame, counted from 0.")] = 0,
    disk_number: Annotated[
        int | None,
        typer.Option(help="The disk number to explain.", show_default="the one that the network finds"),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Picture to make: .png, .pdf or .svg.", show_default=False)
    ] = None,
    arrays: Annotated[
        Path | None, typer.Option(help="File of the arrays to make: .npz.", show_default=False)
    ] = None,
    run: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="A stored run, instead of a file: its uid or its beginning, scan id, or last.",
            show_default=False,
        ),
    ] = None,
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    image_key: Annotated[
        str | None, typer.Option(help="Detector's key, where a run has several.", show_default=False)
    ] = None,
    dataset: DatasetOption = None,
    grid: GridOption = None,
    beam_center: BeamCenterOption = None,
    beam_center_order: CenterOrderOption = "row-column",
    geometry_file: GeometryOption = None,
    mask: MaskOption = None,
    mask_polarity: MaskPolarityOption = "left-out",
    dark: DarkFramesOption = None,
    flat: FlatFieldOption = None,
    orientation: OrientationOption = "as-stored",
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME|PATH", help="See: speckle models.", show_default="as speckle classify"),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace files that are there.")] = False,
) -> None:
    r"""Show which pixels of a frame, and which part of the network's input, speak for a disk number.

    A label should hang on the speckles, not on a dead pixel or the edge of a beam stop. The picture shows the
    frame; over it the **saliency**, by how much the score changes for each relative change of a pixel; the
    network's input; and over it **Grad-CAM**, coarse: where the features are that speak for the disk number.
    The input may be a Patterson map, in which each pair of disks is a spot at its distance.
    The arrays are those of the picture, not smoothed; the saliency with its sign.

    **Examples**: a frame of a file; a frame of a stored run, and why it was not 8.

        speckle explain frames.h5 --frame-index 3 --out explanation.png

        speckle explain --run 60a810eb --data demo-output --frame-index 17 --disk-number 8 \
          --out explanation.png --arrays explanation.npz
    """
    if out is None and arrays is None:
        raise ValueError("nothing to make: give --out PICTURE.png, --arrays FILE.npz, or both")
    if (file is None) == (run is None):
        raise ValueError("give either a file of frames or --run RUN with --data or --server")
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.choosing import bundle_for
    from speckle_plugin.preprocessing import FrameGeometry, view_shape
    from speckle_plugin.preprocessing.marked_pixels import without_marked_pixels
    from speckle_plugin.schema import ASSUMED_CENTER
    from speckle_plugin.settings import read_settings

    beam = BeamOptions(grid, beam_center, beam_center_order, geometry_file, orientation)
    if file is not None:
        chosen = _from_file(file, frame_index, dataset, beam)
        shape = (chosen.pixels.shape[0], chosen.pixels.shape[1])
        chosen = replace(chosen, correction=read_correction(dark, flat, shape, orientation))
    elif dark is not None or flat is not None:
        raise ValueError(
            "--dark and --flat are for frames of files; those of runs are corrected as they were"
        )
    elif orientation not in ("as-stored", read_settings().orientation):
        raise ValueError("--orientation is for frames of files; those of stored runs stay as they are")
    else:
        chosen = _from_run(str(run), frame_index, image_key, data, server, beam)
    shape = chosen.pixels.shape
    left_out = mask_of(mask, mask_polarity, chosen.mask, shape if file is not None else None)
    if left_out is not None:
        left_out = chosen.orientation.back.turn(left_out)
    geometry = FrameGeometry((shape[0], shape[1]), chosen.beam_center or ASSUMED_CENTER, left_out)
    bundle = bundle_for(chosen.k_step) if model is None else find_bundle(model)
    geometry = without_marked_pixels(chosen.pixels, geometry, bundle.preprocessing)
    if chosen.correction is not None:
        geometry = chosen.correction.without_blind(geometry)
    view_shape(bundle.preprocessing, geometry)  # a geometry that can't serve is told before the network loads
    if chosen.beam_center is None:
        remark(
            f"{chosen.name}: nothing says where the beam is, pixel (0, 0) is taken; "
            "see --grid and --beam-center"
        )
    with contextlib.ExitStack() as stack:
        files = (out, (".png", ".pdf", ".svg")), (arrays, (".npz",))
        picture, table = (path and stack.enter_context(new_file(path, kinds, force)) for path, kinds in files)
        progress = stack.enter_context(progress_bar())
        progress.add_task(f"loading the network {bundle.name}, explaining", total=None, numbers="")
        explanation = _explain(bundle, chosen, geometry, disk_number)
        if out is not None and picture is not None:
            _draw(picture, out.suffix[1:], explanation, chosen, bundle, geometry)
        if table is not None:
            _save(table, explanation, chosen, bundle, geometry)
    result = explanation.result
    made = " and ".join(str(path) for path in (out, arrays) if path is not None)
    label = f"{result.disk_number} disks ({result.confidence:.1%})"
    if explanation.disk_number != result.disk_number:
        label += f"; explained: {explanation.disk_number} disks ({explanation.probability:.2g})"
    if result.flags:
        label += f"; {', '.join(result.flags)}"
    stdout().print(
        f"{chosen.name}: {label}, by {bundle.name} {bundle.version} ({bundle.sha256[:12]}), in {made}",
        markup=False,
        soft_wrap=True,
    )


@dataclass(frozen=True, eq=False)
class _Chosen:
    """The frame to explain, and how it is called; how it is turned for what options say of it."""

    name: str
    pixels: NDArray[Any]
    beam_center: tuple[float, float] | None
    k_step: float | None
    orientation: Orientation
    mask: NDArray[Any] | None = None
    correction: Correction | None = None

    @property
    def shown(self) -> NDArray[Any]:
        """The pixels, corrected."""
        return self.pixels if self.correction is None else self.correction(self.pixels)


def _from_file(file: Path, frame_index: int, dataset: str | None, beam: BeamOptions) -> _Chosen:
    from speckle_plugin.frames.files import open_frames
    from speckle_plugin.preprocessing.orientation import Orientation

    frames = turned(open_frames(file, dataset), beam.orientation)
    center, k_step = beam.of_file(frames)
    pixels = frames.read_frame(frame_index)
    name, mask = f"{file.name}, frame {frame_index}", frames.statements.mask
    return _Chosen(name, pixels, center, k_step, Orientation(), mask)  # it is turned already


def _from_run(
    run: str,
    frame_index: int,
    image_key: str | None,
    data: Path | None,
    server: str | None,
    beam: BeamOptions,
) -> _Chosen:
    from speckle_plugin.cli.stored_frame import read_stored_frame

    with open_store(data, server) as store:
        stored = read_stored_frame(store, run, frame_index, image_key)
    as_stored = (stored.pixels.shape[0], stored.pixels.shape[1])
    turned_shape = stored.orientation.turn_shape(as_stored)
    center, k_step = replace(beam, orientation="as-stored").stated(turned_shape)
    if center is not None and (beam.grid or beam.beam_center):
        center = stored.orientation.back.turn_point(center, turned_shape)
    name = f"run {stored.run_uid[:8]}, {stored.image_key}, frame {frame_index}"
    center, k_step = center or stored.beam_center, k_step or stored.k_step
    return _Chosen(name, stored.pixels, center, k_step, stored.orientation, correction=stored.correction)


def _explain(
    bundle: Bundle, chosen: _Chosen, geometry: FrameGeometry, disk_number: int | None
) -> Explanation:
    from speckle_plugin.explain.saliency import explain as explain_frame

    return explain_frame(
        bundle,
        chosen.pixels,
        geometry,
        disk_number,
        chosen.k_step,
        center_assumed=chosen.beam_center is None,
        correction=chosen.correction,
    )


def _draw(
    path: Path,
    kind: str,
    explanation: Explanation,
    chosen: _Chosen,
    bundle: Bundle,
    geometry: FrameGeometry,
) -> None:
    from speckle_plugin.explain.picture import explanation_picture

    title = f"{chosen.name}, by {bundle.name} {bundle.version}"
    figure = explanation_picture(
        explanation, chosen.shown, bundle.preprocessing, geometry, chosen.k_step, title
    )
    figure.savefig(path, format=kind, dpi=RESOLUTION)


def _save(
    path: Path, explanation: Explanation, chosen: _Chosen, bundle: Bundle, geometry: FrameGeometry
) -> None:
    import numpy as np

    from speckle_plugin.preprocessing import map_spacing

    more: dict[str, Any] = {}
    if chosen.k_step:
        more["pitch"] = chosen.k_step
        if bundle.preprocessing.intensity == "patterson":
            more["map_spacing"] = map_spacing(bundle.preprocessing, geometry, chosen.k_step)
    with path.open("wb") as opened:
        np.savez_compressed(
            opened,
            frame=chosen.shown,
            saliency=explanation.saliency,
            inputs=explanation.inputs,
            grad_cam=explanation.grad_cam,
            disk_number=explanation.disk_number,
            probability=explanation.probability,
            classes=bundle.classes,
            probabilities=explanation.result.probabilities,
            beam_center=geometry.beam_center,
            model=f"{bundle.name} {bundle.version}",
            weights_sha256=bundle.sha256,
            **more,
        )
