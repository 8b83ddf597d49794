"""`speckle demo`: the main job from end to end, on a simulated sample."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.options import LARGEST_SEED, EngineName, FamilyName
from speckle_plugin.shell import command

if TYPE_CHECKING:
    from pandas import DataFrame

    from simulated_devices import SpeckleSample
    from speckle_plugin.live import RunReport
    from speckle_plugin.preprocessing import Preprocessing
    from speckle_plugin.session import Session

__all__ = ["demo"]

EXAMPLES = 6
"""Frames that the picture shows."""

PATCHES = 24

SOLVED_DISKS, SOLVED_PHOTONS = 12, 1e6
"""Of the frame that is solved."""

EXPOSURE_TIME = 0.1
"""Seconds per frame; the times from frame to label then show the classifier, not a queue."""


@clear_errors
def demo(
    data: Annotated[Path, typer.Option(help="Data directory: frames, Tiled and journals.")] = Path(
        "demo-output"
    ),
    points: Annotated[int, typer.Option(min=2, max=64, help="Positions along each stage.")] = 8,
    family: Annotated[FamilyName, typer.Option(help="How the radii of the disks are chosen.")] = "mono",
    seed: Annotated[int, typer.Option(min=0, max=LARGEST_SEED, help="Of sample and noise.")] = 20261122,
    model: Annotated[
        str | None, typer.Option(metavar="NAME|PATH", help="See: speckle models.", show_default="quadrant")
    ] = None,
    engine: Annotated[EngineName, typer.Option(help="What runs the network.")] = "auto",
) -> None:
    r"""Scan a simulated sample, classify live, store, query back, and draw a picture.

    A grid scan moves the sample through the beam; each frame goes into an HDF5 file, is classified while the
    scan goes on, and its result is stored beside it in a Tiled server. The map of disk numbers over
    the sample, true and classified, is drawn into **demo.png** in the data directory. One frame of unequal
    disks is solved as well (speckle solve): **sample.png** shows its disks beside the true ones.

    **Example**: disks of a spread of sizes, on a finer grid.

        speckle demo --family poly --points 12 --data poly-demo
    """
    from speckle_plugin.documents.descriptors import FrameSettings
    from speckle_plugin.session import start_session

    sample = _sample(family, seed)  # before anything is started: it needs the extra sim
    started = time.monotonic()
    remark("starting the Tiled server, loading the classifier ...")
    # What settings say of detectors and profiles is meant for measurements.
    with start_session(data, model=model, engine=engine, frames=FrameSettings(), profile="") as session:
        # Waits for the classifier, so that the times are of frames only.
        settings = session.live.classifier.bundle.preprocessing
        uid = _scan(session, points, sample, seed)
        report = session.live.reports[uid]
        table = _query(session, uid)
        picture = _draw(session, table, settings, data / "demo.png", family)
        solved = _solve_one(data / "sample.png", seed)
        _tell(session, uid, report, table, (picture, solved), data)
    remark(f"finished in {time.monotonic() - started:.0f} s")


def _sample(family: str, seed: int) -> SpeckleSample:
    from simulated_devices import SampleMap, SpeckleSample

    sample_map = SampleMap("patches", seed=seed, parts=PATCHES)
    return SpeckleSample(name="sample", sample_map=sample_map, family=family, seed=seed)


def _scan(session: Session, points: int, sample: SpeckleSample, seed: int) -> str:
    """Scan the sample, and give the uid of the run."""
    from simulated_devices import SpeckleDetector
    from speckle_plugin.plans import classify_grid_scan

    det = SpeckleDetector(
        name="det",
        sample=sample,
        data_directory=session.store.frames_directory,
        exposure_time=EXPOSURE_TIME,
        nominal_exposure_time=EXPOSURE_TIME,
        seed=seed,
    )
    axes = (sample.y, *sample.map.y_range, points, sample.x, *sample.map.x_range, points)
    plan = classify_grid_scan(
        [det], *axes, snake_axes=True, md={"purpose": "demo", "family": sample.family.get()}
    )
    (uid,) = cast("tuple[str, ...]", session.RE(plan))
    return uid


def _query(session: Session, uid: str) -> DataFrame:
    """Find the run again by a query, and give its frames' table."""
    from speckle_plugin.store import find_frames, find_runs

    found = find_runs(session.catalog, plan="classify_grid_scan")
    return find_frames(found[uid])


def _draw(session: Session, table: DataFrame, settings: Preprocessing, path: Path, family: str) -> Path:
    import numpy as np

    from speckle_plugin.explain.scan_picture import scan_picture
    from speckle_plugin.explain.style import to_png
    from speckle_plugin.preprocessing import FrameGeometry, prepare
    from speckle_plugin.store import StoredRun, read_frames

    run = session.catalog[table["run_uid"].iloc[0]]
    one_each = table.drop_duplicates("truth_disk_number").sort_values("truth_disk_number")
    chosen = one_each.iloc[np.unique(np.linspace(0, len(one_each) - 1, EXAMPLES).round().astype(int))]
    frames = dict(read_frames(run, chosen))
    examples = []
    for label, row in chosen.iterrows():
        frame = frames[label]
        view = prepare(frame, settings, FrameGeometry(frame.shape))[0, 0]
        text = f"{row.truth_disk_number} disks, classified {row.disk_number} ({row.confidence:.0%})"
        examples.append((text, frame, view))
    x, y = table["sample_x"], table["sample_y"]
    figure = scan_picture(
        x,
        y,
        table["disk_number"],
        table["confidence"],
        table["truth_disk_number"].astype(int),
        examples,
        beam_center=FrameGeometry(frame.shape).beam_center,
        k_step=StoredRun(run).images["det_image"].describe().k_step,
        title=f"Scan {run.start['scan_id']}: {len(table)} frames of {family!r}, classified live",
        axis_labels=("sample x (mm)", "sample y (mm)"),
    )
    path.write_bytes(to_png(figure))
    return path


def _solve_one(path: Path, seed: int) -> str:
    """Solve one frame of unequal disks, draw it beside the ground truth, and give what to say of it."""
    import numpy as np

    from simulated_devices import DetectorResponse, Family, draw_system, intensity, quadrant
    from speckle_plugin.explain.structure_picture import structure_picture
    from speckle_plugin.preprocessing import FrameGeometry
    from speckle_plugin.structure import SolveSettings, solve
    from speckle_plugin.structure.matching import largest_difference

    rng, grid = np.random.default_rng(seed), quadrant()
    system = draw_system(Family.POLY, SOLVED_DISKS, rng)
    frame = DetectorResponse(photons=SOLVED_PHOTONS).respond(intensity(system, grid), rng)
    geometry = FrameGeometry(grid.shape, grid.beam_center)
    found = solve(frame, geometry, grid.pitch, SolveSettings(seed=0))
    truth = np.column_stack([system.positions, system.radii])
    structure_picture(found, frame, geometry, "one frame", truth=truth).savefig(path, dpi=110)
    told = f"{found.disk_number} of {SOLVED_DISKS} disks, {found.certificate.replace('_', ' ')}"
    if found.disk_number == SOLVED_DISKS:
        disks = np.column_stack([found.x, found.y, found.r])
        told += f", each within {largest_difference(disks, truth):.2g} units of the truth"
    return f"{path} ({told} in {found.seconds:.1f} s)"


def _tell(
    session: Session,
    uid: str,
    report: RunReport,
    table: DataFrame,
    pictures: tuple[Path, str],
    data: Path,
) -> None:
    """Say what was measured, where it is, and how to go on."""
    import numpy as np

    summary = report.summary
    right = (table["disk_number"] == table["truth_disk_number"]).mean()
    times = [
        "{}: median {:.0f} ms, 99th percentile {:.0f} ms".format(name, *np.percentile(values, [50, 99]) * 1e3)
        for name, values in (("frame to label", report.to_label), ("frame to stored", report.to_stored))
        if values
    ]
    counts = ", ".join(f"{summary[name]} {name}" for name in ("classified", "flagged", "deferred"))
    console = stdout()
    label = summary["labels"][0] if summary["labels"] else 7
    console.print(f"\n[bold]accuracy {right:.1%}[/] against the truth")
    console.print(
        f"""\
frames: {summary["frames"]} ({counts})
model {summary["model"]} {summary["model_version"]} on {summary["engine"]}
{chr(10).join(times)}

picture   {pictures[0]}
sample    {pictures[1]}
run       {uid}, in {data.resolve()} (frames/ HDF5, tiled/ catalog)
IPython   {command("ipython", "--profile-dir=profile_collection", SPECKLE_DATA=data)}
          then: find_frames(catalog[-1])   catalog[-1].primary["det_image"].read()
browser   {command("speckle", "monitor", "--data", data, "--show")}
query     {command("speckle", "query", "--data", data, "--label", label)}
report    {command("speckle", "report", "last", "--data", data, "--out", "report.html")}""",
        soft_wrap=True,
        markup=False,
    )
    for run, problem in session.saver.failures.items():
        remark(f"run {run}: {problem}")
