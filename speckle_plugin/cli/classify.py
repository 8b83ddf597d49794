"""`speckle classify`: label every frame of a file."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterator
from dataclasses import replace
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
from speckle_plugin.cli.options import EngineName, new_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from speckle_plugin.frames.files import FrameFile
    from speckle_plugin.network.classifier import Classifier, FrameResult
    from speckle_plugin.preprocessing import Correction, FrameGeometry
    from speckle_plugin.schema import Flag

__all__ = ["classify"]

MOST_FRAMES = 32
MOST_BYTES = 1 << 27
"""Frames, and bytes of frames, that are read and classified at once."""


@clear_errors
def classify(
    file: Annotated[Path, typer.Argument(help=FILES_HELP, show_default=False)],
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
        typer.Option(
            metavar="NAME|PATH", help="See: speckle models.", show_default="by the k step of the frames"
        ),
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
    out: Annotated[
        Path | None, typer.Option(help="Table of results to make: .csv.", show_default="summary only")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
) -> None:
    r"""Tell the disk number of every frame in a file.

    Where the beam is, the file may say itself, as those of speckle simulate and masters of detectors do; else
    give --grid, --beam-center or --geometry. The k step, which these state too, chooses the network: frames
    that none is for are flagged wrong_k_step, without a label, unless --model names one. Pixels that a
    detector marks as without a value are left out. The table has one row for each frame: frame_index,
    disk_number (0 where there is no label), confidence, flags (such as saturated, empty, non_finite) and the
    numbers that are possible.
    With --dark and --flat each frame is corrected first, (frame - dark) / (flat - dark), as during a scan.
    Where the file holds **disk_number**, the truth, accuracy and confusion matrix are shown.

    **Example**: frames of a detector whose beam is at row 256, column 255.5.

        speckle classify scan.h5 --dataset /entry/data/data \
          --beam-center 256,255.5 --mask dead_pixels.npy --out results.csv
    """
    from speckle_plugin.frames.files import open_frames
    from speckle_plugin.network import find_bundle
    from speckle_plugin.network.choosing import bundle_for
    from speckle_plugin.preprocessing import FrameGeometry
    from speckle_plugin.schema import ASSUMED_CENTER

    frames = turned(open_frames(file, dataset), orientation)
    beam = BeamOptions(grid, beam_center, beam_center_order, geometry_file, orientation)
    center, k_step = beam.of_file(frames)
    left_out = mask_of(mask, mask_polarity, frames.statements.mask, frames.shape[1:])
    geometry = FrameGeometry(frames.shape[1:], center or ASSUMED_CENTER, left_out)
    correction = read_correction(dark, flat, frames.shape[1:], orientation)
    bundle = bundle_for(k_step) if model is None else find_bundle(model)
    bundle.check_geometry(
        geometry if correction is None else correction.without_blind(geometry)
    )  # a geometry that can't serve is told before the network loads
    if center is None:
        remark(
            f"{file} does not say where the beam is: pixel (0, 0) is taken; see --grid, --beam-center and "
            "speckle center"
        )

    with contextlib.ExitStack() as stack:
        write_row = stack.enter_context(_results_table(out, force, bundle.class_names))
        progress = stack.enter_context(progress_bar())
        task = progress.add_task(f"loading the network {bundle.name}", total=None, numbers="")
        from speckle_plugin.network.classifier import Classifier

        classifier = Classifier(bundle, engine, any_k_step=model is not None)
        progress.update(task, description="classifying", total=frames.shape[0])
        results: list[FrameResult] = []
        for result in _label(classifier, frames, geometry, k_step, center is None, correction):
            write_row(len(results), result)
            results.append(result)
            progress.advance(task)

    from speckle_plugin.cli.summary import print_summary
    from speckle_plugin.network.choosing import why_chosen

    print_summary(results, frames.statements.disk_number, bundle.class_names)
    if not classifier.fits(k_step) and model is None:
        remark("no frame has a label: --model NAME gives labels all the same, and speckle models lists them")
    stdout().print(
        f"network {bundle.name}: {why_chosen(classifier, k_step, by_k_step=model is None)}",
        markup=False,
        soft_wrap=True,
    )
    stdout().print(
        f"{len(results)} frames by {bundle.name} {bundle.version} ({bundle.sha256[:12]}) on "
        f"{classifier.engine.name} {classifier.engine.precision}" + (f", results in {out}" if out else ""),
        markup=False,
        soft_wrap=True,
    )


def _label(
    classifier: Classifier,
    frames: FrameFile,
    geometry: FrameGeometry,
    k_step: float | None,
    assumed: bool,
    correction: Correction | None,
) -> Iterator[FrameResult]:
    from speckle_plugin.frames.checks import corrected_values

    frame_bytes = frames.shape[1] * frames.shape[2] * frames.dtype.itemsize
    saturation_level = frames.statements.saturation_level
    flags: tuple[Flag, ...] = ()
    for number, block in enumerate(frames.read_blocks(max(1, min(MOST_FRAMES, MOST_BYTES // frame_bytes)))):
        if not number:
            shown = (
                list(block) if correction is None else [corrected_values(one, correction) for one in block]
            )
            flags = _advise(shown, geometry)
        for result in classifier.label(
            list(block),
            geometry,
            saturation_level,
            k_step=k_step,
            center_assumed=assumed,
            correction=correction,
        ):
            yield replace(result, flags=(*result.flags, *flags)) if result.disk_number else result


def _advise(frames: list[NDArray[Any]], geometry: FrameGeometry) -> tuple[Flag, ...]:
    """Tell what the first frames show that the options do not say: hot pixels, the beam elsewhere."""
    from speckle_plugin.frames.center import center_disagrees
    from speckle_plugin.frames.hot_pixels import hot_pixel_advice
    from speckle_plugin.schema import Flag

    flags = []
    if advice := hot_pixel_advice(frames, geometry):
        flags.append(Flag.HOT_PIXELS)
        remark(f"WARNING: {advice}; see --mask")
    if found := center_disagrees(frames[0], geometry.beam_center, geometry.mask):
        flags.append(Flag.CENTER_DISAGREES)
        row, column = geometry.beam_center
        remark(
            f"WARNING: the beam is taken at row {row:g}, column {column:g}, but the first frame shows it "
            f"near row {found.row:.0f}, column {found.column:.0f}: see speckle center and --beam-center-order"
        )
    return tuple(flags)


@contextlib.contextmanager
def _results_table(
    out: Path | None, force: bool, class_names: tuple[str, ...]
) -> Iterator[Callable[[int, FrameResult], None]]:
    """Give a function that writes one row; without a file it writes nothing."""
    if out is None:
        yield lambda index, result: None
        return
    from speckle_plugin.schema import POSSIBLE, join_flags, join_numbers

    with new_file(out, (".csv",), force) as partial, partial.open("w", newline="") as file:
        writer = csv.writer(file)
        named = ["class_name"] if class_names else []
        names = ("", *class_names)
        writer.writerow(["frame_index", "disk_number", "confidence", "flags", POSSIBLE, *named])
        yield lambda index, result: writer.writerow(
            [index, result.disk_number, round(result.confidence, 6), join_flags(result.flags)]
            + [join_numbers(result.possible)]
            + [names[result.disk_number] for _ in named]
        )
