"""The plans and preprocessors of bluesky, with the pipeline subscribed and BestEffortCallback beside it.

docs/reference/plans.md lists them. It is made of this module, ``python -m tests.live.test_every_plan``.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import matplotlib as mpl
import pytest
from bluesky import RunEngine
from bluesky.callbacks.best_effort import BestEffortCallback
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from cycler import cycler
from ophyd import Signal

from simulated_devices import FlySpeckleDetector, SampleMap, SpeckleDetector, SpeckleSample, quadrant
from speckle_plugin.live import LiveClassifier
from speckle_plugin.plans import classify_count, classify_fly, classify_grid_scan, classify_scan
from speckle_plugin.store import RunSaver, TiledStore, find_frames

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "plans.md"


@dataclass
class Parts:
    """What plans are made of."""

    det: SpeckleDetector
    other: SpeckleDetector
    fly: FlySpeckleDetector
    x: Any
    y: Any
    ring: Signal = field(default_factory=lambda: Signal(name="ring", value=0))


def multi_run(parts: Parts, interleaved: bool) -> MsgGenerator[None]:
    """Take two runs, one after the other or at once."""

    def one(key: str, points: int) -> MsgGenerator[None]:
        yield from bpp.set_run_key_wrapper(bps.open_run(), key)
        for _ in range(points):
            yield from bpp.set_run_key_wrapper(bps.trigger_and_read([parts.det]), key)
        yield from bpp.set_run_key_wrapper(bps.close_run(), key)

    first, second = one("first", 2), one("second", 2)
    if not interleaved:
        yield from first
        yield from second
        return
    for key in ("first", "second"):
        yield from bpp.set_run_key_wrapper(bps.open_run(), key)
    for _ in range(2):
        for key in ("first", "second"):
            yield from bpp.set_run_key_wrapper(bps.trigger_and_read([parts.det]), key)
    for key in ("second", "first"):
        yield from bpp.set_run_key_wrapper(bps.close_run(), key)


def two_streams(parts: Parts) -> MsgGenerator[None]:
    yield from bps.open_run()
    for stream in ("before", "primary", "after"):
        yield from bps.trigger_and_read([parts.det], name=stream)
    yield from bps.close_run()


def supplemented(parts: Parts, **what: Any) -> MsgGenerator[Any]:
    return bpp.SupplementalData(**what)(bp.count([parts.det], 2))


def line(motor: Any, *positions: float) -> tuple[Any, ...]:
    return motor, list(positions)


def ramp(parts: Parts) -> MsgGenerator[Any]:
    def go() -> MsgGenerator[Any]:
        yield from bps.null()
        return (yield from bps.abs_set(parts.x, 1.0, group="ramp"))

    def inner() -> MsgGenerator[None]:
        yield from bps.trigger_and_read([parts.det, parts.x])

    return bp.ramp_plan(go(), parts.x, inner, take_pre_data=False)


ADAPTIVE: dict[str, Any] = {"min_step": 0.3, "max_step": 0.9, "target_delta": 0.5, "backstep": False}

PLANS: dict[str, tuple[Callable[[Parts], MsgGenerator[Any]], int | None]] = {
    # name: what makes the plan, and how many frames it takes (None: at least one)
    "count": (lambda p: bp.count([p.det], 3), 3),
    "scan": (lambda p: bp.scan([p.det], p.x, -1, 1, 3), 3),
    "rel_scan": (lambda p: bp.rel_scan([p.det], p.x, -0.5, 0.5, 3), 3),
    "list_scan": (lambda p: bp.list_scan([p.det], *line(p.x, 0, 1, 0.5)), 3),
    "rel_list_scan": (lambda p: bp.rel_list_scan([p.det], *line(p.x, 0, 0.5)), 2),
    "log_scan": (lambda p: bp.log_scan([p.det], p.x, -1, 0, 3), 3),
    "rel_log_scan": (lambda p: bp.rel_log_scan([p.det], p.x, -1, 0, 3), 3),
    "grid_scan": (lambda p: bp.grid_scan([p.det], p.y, -1, 1, 2, p.x, -1, 1, 3, snake_axes=True), 6),
    "rel_grid_scan": (lambda p: bp.rel_grid_scan([p.det], p.y, -0.5, 0.5, 2, p.x, -0.5, 0.5, 2), 4),
    "list_grid_scan": (lambda p: bp.list_grid_scan([p.det], p.y, [0, 1], p.x, [0, 0.5, 1]), 6),
    "rel_list_grid_scan": (lambda p: bp.rel_list_grid_scan([p.det], p.y, [0, 1], p.x, [0, 0.5]), 4),
    "scan_nd": (lambda p: bp.scan_nd([p.det], cycler(p.x, [0, 1]) * cycler(p.y, [0, 0.5])), 4),
    "x2x_scan": (lambda p: bp.x2x_scan([p.det], p.x, p.y, -0.5, 0.5, 3), 3),
    "spiral": (lambda p: bp.spiral([p.det], p.x, p.y, 0, 0, 1, 1, 0.5, 3), None),
    "rel_spiral": (lambda p: bp.rel_spiral([p.det], p.x, p.y, 1, 1, 0.5, 3), None),
    "spiral_fermat": (lambda p: bp.spiral_fermat([p.det], p.x, p.y, 0, 0, 1, 1, 0.5, 1), None),
    "rel_spiral_fermat": (lambda p: bp.rel_spiral_fermat([p.det], p.x, p.y, 1, 1, 0.5, 1), None),
    "spiral_square": (lambda p: bp.spiral_square([p.det], p.x, p.y, 0, 0, 1, 1, 3, 3), 9),
    "rel_spiral_square": (lambda p: bp.rel_spiral_square([p.det], p.x, p.y, 1, 1, 3, 3), 9),
    "adaptive_scan": (
        lambda p: bp.adaptive_scan([p.det], "det_truth_disk_number", p.x, -1, 1, **ADAPTIVE),
        None,
    ),
    "rel_adaptive_scan": (
        lambda p: bp.rel_adaptive_scan([p.det], "det_truth_disk_number", p.x, -0.9, 0.9, **ADAPTIVE),
        None,
    ),
    "tune_centroid": (
        lambda p: bp.tune_centroid([p.det], "det_truth_disk_number", p.x, -1, 1, 0.5, 4, snake=True),
        None,
    ),
    "ramp_plan": (ramp, None),
    "fly": (lambda p: bp.fly([p.fly]), 10),
    "classify_count": (lambda p: classify_count([p.det], 2), 2),
    "classify_scan": (lambda p: classify_scan([p.det], p.x, -1, 1, 3), 3),
    "classify_grid_scan": (lambda p: classify_grid_scan([p.det], p.y, -1, 1, 2, p.x, -1, 1, 2), 4),
    "classify_fly": (lambda p: classify_fly(p.fly, 4, p.x, -1, 1), 4),
}

PREPROCESSORS: dict[str, tuple[Callable[[Parts], MsgGenerator[Any]], int | None]] = {
    "baseline_wrapper": (lambda p: bpp.baseline_wrapper(bp.count([p.det], 2), [p.x, p.ring]), 2),
    "baseline_wrapper, a camera": (lambda p: bpp.baseline_wrapper(bp.count([p.det], 2), [p.other]), 4),
    "monitor_during_wrapper": (lambda p: bpp.monitor_during_wrapper(bp.count([p.det], 2), [p.ring]), 2),
    "fly_during_wrapper": (lambda p: bpp.fly_during_wrapper(bp.count([p.det], 2), [p.fly]), 12),
    "SupplementalData": (lambda p: supplemented(p, baseline=[p.x], monitors=[p.ring]), 2),
    "SupplementalData, flyers": (lambda p: supplemented(p, flyers=[p.fly]), 12),
    "run_wrapper": (lambda p: bpp.run_wrapper(bps.trigger_and_read([p.det])), 1),
    "stage_wrapper": (
        lambda p: bpp.stage_wrapper(bpp.run_wrapper(bps.trigger_and_read([p.det])), [p.det]),
        1,
    ),
    "lazily_stage_wrapper": (
        lambda p: bpp.lazily_stage_wrapper(bpp.run_wrapper(bps.trigger_and_read([p.det]))),
        1,
    ),
    "set_run_key_wrapper, one run after the other": (lambda p: multi_run(p, interleaved=False), 4),
    "set_run_key_wrapper, two runs at once": (lambda p: multi_run(p, interleaved=True), 4),
    "three streams of one detector": (two_streams, 3),
    "inject_md_wrapper": (lambda p: bpp.inject_md_wrapper(bp.count([p.det], 2), {"a": 1}), 2),
    "relative_set_wrapper": (
        lambda p: bpp.relative_set_wrapper(bp.list_scan([p.det], *line(p.x, 0, 0.5))),
        2,
    ),
    "reset_positions_wrapper": (
        lambda p: bpp.reset_positions_wrapper(bp.list_scan([p.det], *line(p.x, 0, 0.5))),
        2,
    ),
    "finalize_wrapper": (lambda p: bpp.finalize_wrapper(bp.count([p.det], 2), bps.null()), 2),
    "contingency_wrapper": (
        lambda p: bpp.contingency_wrapper(bp.count([p.det], 2), else_plan=bps.null),
        2,
    ),
    "subs_wrapper": (lambda p: bpp.subs_wrapper(bp.count([p.det], 2), lambda name, doc: None), 2),
    "suspend_wrapper": (lambda p: bpp.suspend_wrapper(bp.count([p.det], 2), []), 2),
    "rewindable_wrapper": (lambda p: bpp.rewindable_wrapper(bp.count([p.det], 2), False), 2),
    "stub_wrapper": (lambda p: bpp.run_wrapper(bpp.stub_wrapper(bp.count([p.det], 2))), 2),
    "msg_mutator": (lambda p: bpp.msg_mutator(bp.count([p.det], 2), lambda msg: msg), 2),
    "plan_mutator": (lambda p: bpp.plan_mutator(bp.count([p.det], 2), lambda msg: (None, None)), 2),
    "pchain": (lambda p: bpp.pchain(bp.count([p.det], 1), bp.count([p.det], 1)), 2),
    "print_summary_wrapper": (lambda p: bpp.print_summary_wrapper(bp.count([p.det], 2)), 2),
    "configure_count_time_wrapper": (
        lambda p: bpp.configure_count_time_wrapper(bp.count([p.det], 2), None),
        2,
    ),
}

NOT_RUN = {
    "tweak": "asks for each step at the prompt; its run has one event for each as any other has",
    "inner_product_scan": "an older name of `scan`",
    "outer_product_scan": "an older name of `grid_scan`",
}

SAVED = {
    "fly",
    "classify_fly",
    "adaptive_scan",
    "baseline_wrapper, a camera",
    "monitor_during_wrapper",
    "SupplementalData, flyers",
    "set_run_key_wrapper, two runs at once",
    "three streams of one detector",
}
"""Runs that are unlike the others in their documents: these go into a real Tiled, which takes seconds."""


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    with TiledStore(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def parts(store: TiledStore) -> Parts:
    sample = SpeckleSample(name="sample", sample_map=SampleMap("gradient"), seed=1)
    common: dict[str, Any] = {
        "sample": sample,
        "grid": quadrant(65),
        "data_directory": store.frames_directory,
    }
    return Parts(
        SpeckleDetector(name="det", seed=1, **common),
        SpeckleDetector(name="other", seed=2, **common),
        FlySpeckleDetector(name="fly", seed=3, **common),
        sample.x,
        sample.y,
    )


@pytest.fixture
def live(run_engine: RunEngine, make_live: Callable[..., LiveClassifier]) -> Iterator[LiveClassifier]:
    """Subscribe the pipeline and BestEffortCallback."""
    mpl.use("Agg")
    live = make_live()
    run_engine.subscribe(live)
    run_engine.subscribe(BestEffortCallback())
    yield live
    mpl.pyplot.close("all")


def check(documents: Any, frames: int | None) -> None:
    """See that every frame is classified."""
    books = documents.frame_counts()
    counted = sum(summary["frames"] for summary in books)
    assert counted == frames if frames is not None else counted > 0
    assert sum(summary["classified"] for summary in books) == counted == len(documents.rows())


# All plans go through the same lines, which other tests cover; tracing them takes a third of the time.
@pytest.mark.no_cover
@pytest.mark.parametrize("name", [*PLANS, *PREPROCESSORS])
def test_a_plan(
    run_engine: RunEngine, parts: Parts, documents: Any, live: LiveClassifier, store: TiledStore, name: str
) -> None:
    make, frames = (PLANS | PREPROCESSORS)[name]
    saver = RunSaver(store.runs, store.journal_directory)
    if name in SAVED:
        live.subscribe(saver, saves=True)
    run_engine(make(parts))
    check(documents, frames)
    saver.close()
    assert not saver.failures
    for stop in documents.of("stop") if name in SAVED else ():
        run = store.runs[stop["run_start"]]
        assert run.metadata["stop"]["num_events"] == stop["num_events"]
        assert len(find_frames(run, with_frames=True)) == stop["classification"]["frames"]


def test_a_count_without_end_that_is_stopped(
    run_engine: RunEngine, parts: Parts, documents: Any, live: LiveClassifier
) -> None:
    events: list[str] = []

    def pause(name: str, doc: dict[str, Any]) -> None:
        events.append(doc["uid"])
        if len(events) == 3:  # from another thread: this one is the RunEngine's
            threading.Thread(target=run_engine.request_pause).start()

    run_engine.subscribe(pause, "event")
    with pytest.raises(RunEngineInterrupted):
        run_engine(bp.count([parts.det], None))
    run_engine.stop()
    check(documents, None)
    assert documents.of("stop")[0]["exit_status"] == "success"


def public(module: Any) -> list[str]:
    """Name the functions and classes that a module makes itself."""
    return [
        name
        for name, item in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(item) or inspect.isclass(item))
        and item.__module__ == module.__name__
    ]


def render() -> str:
    """Make the page."""
    lines = [
        "# Plans that are tested",
        "",
        "Each plan and preprocessor of bluesky runs in `tests/live/test_every_plan.py` with the live",
        "classifier subscribed and BestEffortCallback beside it: every frame of every run gets its row.",
        "This page is made of that module, and the test fails if it is not.",
        "",
    ]
    for title, names in (
        ("Plans", PLANS),
        ("Preprocessors and other ways to put a plan together", PREPROCESSORS),
    ):
        lines += [f"## {title}", "", "| | tested |", "|---|---|"]
        lines += [f"| `{name.split(',')[0]}`{name[len(name.split(',')[0]) :]} | ✓ |" for name in names]
        lines += ["| `count` without end, stopped | ✓ |"] if names is PLANS else []
        lines += [""]
    lines += ["## Not run", "", "| | why |", "|---|---|"]
    lines += [f"| `{name}` | {reason} |" for name, reason in NOT_RUN.items()]
    return "\n".join([*lines, ""])


def test_the_page_lists_them() -> None:
    assert PAGE.read_text(encoding="utf-8") == render()


def test_every_plan_of_bluesky_is_listed() -> None:
    plans = {name for name in public(bp) if "detectors" in inspect.signature(getattr(bp, name)).parameters}
    plans -= {name for name in plans if name.startswith("relative_")}  # older names of `rel_...`
    assert plans | {"fly", "ramp_plan"} <= PLANS.keys() | NOT_RUN.keys()
    wrappers = {name for name in public(bpp) if name.endswith("_wrapper")} | {"SupplementalData"}
    assert wrappers <= {name.split(",")[0] for name in PREPROCESSORS}


if __name__ == "__main__":
    PAGE.parent.mkdir(parents=True, exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
