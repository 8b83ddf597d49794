"""Whatever happens to a scan, its frames are counted: frames on disk, frames in Tiled, rows, and summary.

With a real RunEngine, real files and a real Tiled server; only the network is a stand-in, since
it is to raise, to hang and to run out of memory.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky.suspenders import SuspendBoolHigh
from bluesky.utils import IllegalMessageSequence, RunEngineInterrupted
from ophyd import Signal
from ophyd.sim import SynAxis

from simulated_devices import SpeckleDetector
from speckle_plugin.live import LiveClassifier
from speckle_plugin.speeds import resident_mebibytes
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from speckle_plugin.store.read.events import read_columns

Measure = Callable[..., list[dict[str, Any]]]


@pytest.fixture
def saved(store: TiledStore, make_live: Callable[..., LiveClassifier]) -> Iterator[Callable[..., Any]]:
    """Give a maker of live classifiers whose runs go into the store."""
    savers = []

    def make(**settings: Any) -> LiveClassifier:
        live = make_live(**settings)
        savers.append(RunSaver(store.runs, store.journal_directory))
        live.subscribe(savers[-1], saves=True)
        return live

    yield make
    for saver in savers:
        assert not saver.failures
        saver.close()


def frames_on_disk(det: SpeckleDetector) -> int:
    total = 0
    for path in det.data_directory.glob("*.h5"):
        with h5py.File(path) as file:
            total += len(file["/entry/data/data"])
    return total


@pytest.fixture
def detector(store: TiledStore, make_detector: Callable[..., SpeckleDetector], tmp_path: Any) -> Any:
    """Give a maker of detectors whose frames the server may read."""

    def make(name: str = "det", **settings: Any) -> SpeckleDetector:
        return make_detector(name, data_directory=store.frames_directory / tmp_path.name / name, **settings)

    return make


def check_frame_counts(store: TiledStore, uid: str) -> dict[str, Any]:
    """Check that a run is whole, and give its summary."""
    run = store.runs[uid]
    assert "stop" in run.metadata, "the run has no end"
    summary: dict[str, Any] = run.metadata["stop"].get("classification", {})
    images = {
        f"{name}/{key}": run.base[f"{name}/{key}"]
        for name, stream in run.base.items()
        for key, spec in stream.metadata["data_keys"].items()
        if spec.get("external") and key.endswith("_image")
    }
    stored = sum(int(np.prod(image.shape[:-2])) for image in images.values())
    for image in images.values():
        image.read()  # every file that Tiled knows is there and can be read
    if not stored:
        assert not summary
        return summary
    rows = read_columns(run, "classification", ["image_key", "frame_index", "status"])
    assert rows is not None
    assert summary["frames"] == stored == len(rows)
    assert not rows.duplicated(["image_key", "frame_index"]).any()
    for status in ("classified", "flagged", "deferred"):
        assert summary[status] == (rows["status"] == status).sum()
    assert run.metadata["stop"]["num_events"]["classification"] == stored
    return summary


COMMANDS = ["stage", "open_run", "checkpoint", "set", "wait", "trigger", "create", "read", "save", "unstage"]


def pause_before(command: str, plan: Any) -> Any:
    """Pause before the second message of a kind, or the first where there is one only."""
    messages = 0

    def mutate(message: Any) -> tuple[Any, None]:
        nonlocal messages
        if message.command != command:
            return None, None
        messages += 1
        if messages != (1 if command in ("stage", "open_run", "unstage", "close_run") else 2):
            return None, None

        def paused() -> Any:
            yield from bps.pause()
            return (yield message)

        return paused(), None

    return bpp.plan_mutator(plan, mutate)


@pytest.mark.parametrize(
    "ending",
    ["resume", "abort", *(pytest.param(name, marks=pytest.mark.slow) for name in ("stop", "halt"))],
)
def test_interrupted_at_every_kind_of_message(
    run_engine: Any, store: TiledStore, saved: Any, detector: Any, ending: str
) -> None:
    run_engine.subscribe(saved())
    stage: Any = SynAxis(name="stage")
    for command in [*COMMANDS, "close_run"]:
        det = detector(f"det_{command}")
        opened: list[str] = []
        token = run_engine.subscribe(lambda _, doc, opened=opened: opened.append(doc["uid"]), "start")
        try:
            run_engine(pause_before(command, bp.scan([det], stage, 0, 1, 3)))
            pytest.fail(f"the plan was not interrupted at {command}")
        except RunEngineInterrupted:
            # Without a checkpoint before, it is an abort. After the end of the run, bluesky rewinds to
            # a checkpoint within it, and refuses what comes then.
            with contextlib.suppress(IllegalMessageSequence):
                if run_engine.state == "paused":
                    getattr(run_engine, ending)()
        run_engine.unsubscribe(token)
        for uid in opened:
            summary = check_frame_counts(store, uid)
            if ending == "resume" and store.runs[uid].metadata["stop"]["exit_status"] == "success":
                assert summary["classified"] >= 3
        assert run_engine.state == "idle"


def test_a_suspender(run_engine: Any, store: TiledStore, saved: Any, detector: Any) -> None:
    beam_lost: Any = Signal(name="beam_lost", value=0)
    run_engine.install_suspender(SuspendBoolHigh(beam_lost))
    run_engine.subscribe(saved())
    det = detector()

    def lose_beam() -> None:
        beam_lost.put(1)
        threading.Timer(0.3, beam_lost.put, [0]).start()

    def plan():
        yield from bps.open_run()
        for number in range(4):
            yield from bps.checkpoint()
            if number == 2 and not beam_lost.get():
                threading.Timer(0.01, lose_beam).start()
            yield from bps.trigger_and_read([det])
            yield from bps.sleep(0.1)
        yield from bps.close_run()

    started = time.monotonic()
    (uid,) = run_engine(bpp.stage_wrapper(plan(), [det])).run_start_uids
    assert time.monotonic() - started > 0.3
    summary = check_frame_counts(store, uid)
    assert summary["classified"] == summary["frames"] >= 4


def test_an_exposure_without_event_stays_out(
    run_engine: Any, store: TiledStore, saved: Any, detector: Any
) -> None:
    run_engine.subscribe(saved())
    det = detector(frames_per_trigger=2)

    def plan():
        yield from bps.open_run()
        for number in range(3):
            yield from bps.trigger(det, wait=True)
            if number != 1:
                yield from bps.create()
                yield from bps.read(det)
                yield from bps.save()
        yield from bps.close_run()

    (uid,) = run_engine(bpp.stage_wrapper(plan(), [det])).run_start_uids
    assert check_frame_counts(store, uid)["classified"] == 4
    assert frames_on_disk(det) == 6  # what was exposed and never read is not thrown away


def test_runs_within_runs_and_several_detectors(
    run_engine: Any, store: TiledStore, saved: Any, detector: Any
) -> None:
    run_engine.subscribe(saved())
    one, two = detector("one"), detector("two", frames_per_trigger=3)

    @bpp.set_run_key_decorator("inner")
    @bpp.run_decorator()
    def inner():
        yield from bps.trigger_and_read([two])

    @bpp.stage_decorator([one, two])
    @bpp.set_run_key_decorator("outer")
    @bpp.run_decorator()
    def outer():
        yield from bps.trigger_and_read([one])
        yield from inner()
        yield from bps.trigger_and_read([two, one], name="both")
        yield from inner()
        yield from bps.trigger_and_read([one])

    first, *others = run_engine(outer()).run_start_uids
    assert check_frame_counts(store, first)["classified"] == 1 + (1 + 3) + 1
    assert [check_frame_counts(store, uid)["classified"] for uid in others] == [3, 3]
    assert frames_on_disk(one) == 3 and frames_on_disk(two) == 9
    # A detector that is read in two streams: each row leads to its own frame.
    table = find_frames(store.runs[first], with_frames=True)
    assert table["image_key"].value_counts().to_dict() == {
        "one_image": 2,
        "both/one_image": 1,
        "both/two_image": 3,
    }
    for key, stream in (("one_image", "primary/one_image"), ("both/one_image", "both/one_image")):
        stored = store.runs[first].base[stream].read()
        rows = table[table["image_key"] == key].sort_values("frame_index")
        np.testing.assert_array_equal(np.stack(rows["frame"].to_list()), stored)


def test_a_run_without_frames(run_engine: Any, store: TiledStore, saved: Any) -> None:
    run_engine.subscribe(saved())
    stage: Any = SynAxis(name="stage")
    (uid,) = run_engine(bp.scan([], stage, 0, 1, 2)).run_start_uids
    assert check_frame_counts(store, uid) == {}


@pytest.mark.parametrize(
    "error", [RuntimeError("the network is broken"), MemoryError(), ZeroDivisionError("x" * 5000)]
)
def test_a_classifier_that_raises(
    run_engine: Any, store: TiledStore, saved: Any, detector: Any, engine: Any, error: Exception
) -> None:
    engine.error = error
    run_engine.subscribe(saved())
    (uid,) = run_engine(bp.count([detector(frames_per_trigger=5)], 2)).run_start_uids
    summary = check_frame_counts(store, uid)
    assert summary["deferred"] == 10
    assert type(error).__name__ in summary["problems"][0]["reason"]
    assert len(summary["problems"][0]["reason"]) < 1000


def test_a_classifier_that_hangs_and_comes_back(
    run_engine: Any, store: TiledStore, saved: Any, detector: Any, engine: Any
) -> None:
    run_engine.subscribe(saved(hang_timeout=0.5, pending_bytes=1))
    det = detector()
    engine.may_answer.clear()
    durations: list[float] = []
    uids: list[str] = []
    for _ in range(2):
        started = time.monotonic()
        uids += run_engine(bp.count([det], 4)).run_start_uids
        durations.append(time.monotonic() - started)
    engine.may_answer.set()
    # Once for the first frame of the first run; then it is known to hang.
    assert durations[0] < 10 and durations[1] < 5
    for uid in uids:
        assert check_frame_counts(store, uid)["deferred"] == 4
    deadline = time.monotonic() + 10
    while True:  # it answers again when it is done with what it hung on
        (uid,) = run_engine(bp.count([det], 2)).run_start_uids
        if check_frame_counts(store, uid)["classified"] == 2:
            break
        assert time.monotonic() < deadline, "the classifier was not used again"


LeakCheck = Callable[[int], tuple[int, int, float]]


@pytest.fixture
def leak_check(
    run_engine: Any, saved: Any, detector: Any, documents: Any, caplog: pytest.LogCaptureFixture
) -> LeakCheck:
    """Give a function that counts threads, open files and MiB of memory that short runs leave behind."""
    caplog.set_level(logging.WARNING, "uvicorn.access")  # pytest keeps what is logged
    run_engine.subscribe(saved())
    det = detector()

    def measure(count: int) -> None:
        for _ in range(count):
            run_engine(bp.count([det], 1))
            documents.clear()  # the tests' own recorder

    def held() -> tuple[int, int, float]:
        gc.collect()
        return threading.active_count(), len(os.listdir("/proc/self/fd")), resident_mebibytes()

    def check(runs: int) -> tuple[int, int, float]:
        measure(3)  # caches fill
        before = held()
        measure(runs)
        threads, files, mebibytes = held()
        left = threads - before[0], files - before[1], mebibytes - before[2]
        print(f"after {runs} runs more: {left[0]} threads, {left[1]} files, {left[2]:.1f} MiB")
        return left

    return check


def test_short_runs_leave_nothing_behind(leak_check: LeakCheck) -> None:
    threads, files, mebibytes = leak_check(10)
    assert threads <= 2 and files <= 4 and mebibytes < 30


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_a_thousand_short_runs_leave_nothing_behind(leak_check: LeakCheck) -> None:
    threads, files, mebibytes = leak_check(1000)
    assert threads <= 2 and files <= 4 and mebibytes < 40
