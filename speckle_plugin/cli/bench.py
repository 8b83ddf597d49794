"""`speckle bench`: how fast this machine classifies, beside what bounds it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from speckle_plugin.cli.console import print_table, remark, stdout, table
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import EngineName

if TYPE_CHECKING:
    from speckle_plugin.speeds import LiveSpeed

__all__ = ["bench"]


@clear_errors
def bench(
    frames: Annotated[int, typer.Option(min=1, help="Frames of the live burst.")] = 400,
    size: Annotated[int, typer.Option(min=33, help="Rows and columns of a frame.")] = 257,
    profile: Annotated[
        bool, typer.Option("--profile", help="Show where the time of the live burst went.")
    ] = False,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="See: speckle models.", show_default="quadrant")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
    out: Annotated[Path | None, typer.Option(help="Write the numbers to a JSON file.")] = None,
) -> None:
    r"""Measure how fast this machine classifies live, and what bounds it.

    A burst of simulated frames goes through files, documents, classifier and a Tiled server, all in
    a temporary folder. Beside it stand the engine alone on the same batches, and the machine's limit: large
    matrix products in the same precision. Run it on an idle machine.

    **Example**: where the time of a frame goes.

        speckle bench --profile
    """
    from simulated_devices.ready_detector import make_ready_detector, sample_frames
    from speckle_plugin import speeds
    from speckle_plugin.session import start_session

    remark("measuring, half a minute or more ...")
    with (
        tempfile.TemporaryDirectory() as folder,
        start_session(folder, model=model, engine=engine, settings=speeds.PATIENT, table=False) as session,
    ):
        classifier = session.live.classifier
        detector = make_ready_detector(session.store.frames_directory, "det", size)
        speeds.live_burst(session, detector, 2)  # compiles the simulator, warms the engine
        batch = sample_frames(session.live.settings.batch, size)
        numbers = speeds.measure_engine(classifier, batch)
        live = speeds.live_burst(session, detector, frames)
    numbers |= {
        "size": size,
        "live_frames_per_s": live.rate,
        "live_over_engine": live.rate / numbers["engine_frames_per_s"],
        "live_ms_per_frame": {k: v * 1e3 for k, v in live.report.summary["seconds_per_frame"].items()},
    }
    _print(numbers)
    if profile:
        _print_stages(live)
    if out is not None:
        out.write_text(json.dumps(numbers, indent=1) + "\n")


def _print(numbers: dict[str, Any]) -> None:
    shown = table("", "", right=[""])
    shown.add_column("")
    if "machine_frames_per_s" in numbers:
        shown.add_row(
            "limit of matrix products",
            f"{numbers['machine_frames_per_s']:.1f}",
            f"frames/s ({numbers['machine_gflop_per_s']:.0f} GFLOP/s, "
            f"{numbers['network_gflop_per_frame']:.1f} GFLOP a frame)",
        )
    shown.add_row(
        "engine alone",
        f"{numbers['engine_frames_per_s']:.1f}",
        f"frames/s in batches of {numbers['batch']}"
        + (
            f", {numbers['engine_over_machine']:.2f} of the limit" if "engine_over_machine" in numbers else ""
        ),
    )
    shown.add_row("one frame", f"{numbers['one_frame_ms']:.1f}", "ms")
    shown.add_row(
        "preprocessing", f"{numbers['preprocessing_over_classification']:.1%}", "of the time of classifying"
    )
    shown.add_row(
        f"live, {numbers['size']} x {numbers['size']}",
        f"{numbers['live_frames_per_s']:.1f}",
        f"frames/s, {numbers['live_over_engine']:.2f} of the engine alone",
    )
    stdout().print(numbers["engine"])
    print_table(shown)


def _print_stages(live: LiveSpeed) -> None:
    from speckle_plugin.speeds import tell_stages

    shown = table("stage", "ms a frame", "of the scan's time", right=("ms a frame", "of the scan's time"))
    for row in tell_stages(live):
        shown.add_row(*row)
    print_table(shown)
    stdout().print(
        "wait: for the frames before it. The others keep a thread busy; write goes on beside them."
    )
