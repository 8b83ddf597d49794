"""Detectors of ophyd-async, ours and theirs: every frame has one row, for the right point."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator, RunEngineInterrupted
from ophyd_async.core import (
    PathProvider,
    StaticPathProvider,
    TriggerInfo,
    UUIDFilenameProvider,
    init_devices,
)
from ophyd_async.sim import PatternGenerator, SimBlobDetector

from simulated_devices import SampleMap, SpeckleSample, quadrant, regenerate_frame
from simulated_devices.async_detector import AsyncSpeckleDetector
from speckle_plugin.live import LiveClassifier
from speckle_plugin.plans import classify_count, classify_fly
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from tests.docs.pages import ROOT, blocks

PAGE = ROOT / "docs/how-to/detectors.md"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    with TiledStore(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def files(store: TiledStore) -> PathProvider:
    return StaticPathProvider(UUIDFilenameProvider(), store.frames_directory)


@pytest.fixture
def run(run_engine: RunEngine, make_live: Callable[..., LiveClassifier], store: TiledStore) -> Iterator[Any]:
    """Give what runs a plan with the live classifier (on the fake engine) and gives the stored run."""
    live = make_live()
    saver = RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)

    def measure(plan: MsgGenerator[Any]) -> Any:
        run_engine(plan)
        assert not saver.failures
        return store.runs.values().last()

    yield measure
    live.close()
    saver.close()


@pytest.fixture
def sample() -> SpeckleSample:
    return SpeckleSample(name="sample", sample_map=SampleMap("steps", seed=5), seed=5)


@pytest.fixture
def det(run_engine: RunEngine, files: PathProvider, sample: SpeckleSample) -> AsyncSpeckleDetector:
    with init_devices():
        det = AsyncSpeckleDetector(files, sample, grid=quadrant(65), exposure_time=0.02, seed=6)
    return det


@pytest.fixture
def blob(run_engine: RunEngine, files: PathProvider) -> SimBlobDetector:
    with init_devices():
        blob = SimBlobDetector(files, PatternGenerator())
    return blob


def several(detector: Any, points: int, frames: int, livetime: float = 0.02) -> MsgGenerator[None]:
    """Take several frames at each point."""

    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def inner() -> MsgGenerator[None]:
        info = TriggerInfo(collections_per_event=frames, livetime=livetime)
        yield from bps.prepare(detector, info, wait=True)
        for _ in range(points):
            yield from bps.trigger_and_read([detector])

    return (yield from inner())


def test_the_code_of_the_page(
    run_engine: RunEngine, make_live: Callable[..., LiveClassifier], store: TiledStore
) -> None:
    """Word for word, but for the number of frames; the beam centre that it states is taken."""
    code = [block.text for block in blocks(PAGE) if block.kind == "python"][1]
    assert "classify_fly(det, 100)" in code
    live, saver = make_live(), RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)
    session = SimpleNamespace(store=store, change=lambda frames: live.change(None, frames))
    exec(code.replace("(det, 100)", "(det, 5)"), {"session": session, "RE": run_engine})
    saver.close()
    table = find_frames(store.runs.values().last())
    assert table["status"].tolist() == ["classified"] * 5
    assert not table["flags"].str.contains("assumed_center").any()


def check(run: Any, key: str, frames: int, per_event: int = 1) -> Any:
    """See that each frame of a run has its row, in order, and give the rows."""
    table = find_frames(run, with_frames=True)
    assert table["frame_index"].tolist() == list(range(frames))
    assert table["primary_seq_num"].tolist() == [1 + i // per_event for i in range(frames)]
    assert set(table["status"]) == {"classified"}
    summary = run.metadata["stop"]["classification"]
    assert summary["frames"] == summary["classified"] == frames
    array = run["primary"][key].read()
    np.testing.assert_array_equal(array.reshape(-1, *array.shape[-2:]), np.stack(table["frame"].tolist()))
    return table


def check_truth(run: Any, frames: int, per_event: int = 1) -> None:
    """See as well that each frame can be made again from the truth that stands beside it."""
    table = check(run, "det", frames, per_event)
    assert table["flags"].str.contains("assumed_center").sum() == 0
    stream = run["primary"]
    configuration = stream.metadata["configuration"]["det"]["data"]
    keys = [key for key in stream if key.startswith("det-truth_")]
    truth = {key: np.asarray(stream[key].read()).reshape(-1) for key in keys}
    assert table["truth_disk_number"].tolist() == truth["det-truth_disk_number"].tolist()
    for index, frame in enumerate(table["frame"]):
        data = {key: column[index].item() for key, column in truth.items()}
        np.testing.assert_array_equal(frame, regenerate_frame(data, configuration))


def test_steps(run: Any, det: AsyncSpeckleDetector, sample: SpeckleSample) -> None:
    stored = run(bp.scan([det], sample.x, -1, 1, 5))
    check_truth(stored, 5)
    positions = stored["primary"]["det-truth_x"].read().reshape(-1)
    np.testing.assert_allclose(positions, np.linspace(-1, 1, 5))
    assert len(set(find_frames(stored)["truth_disk_number"])) > 1


def test_several_frames_for_a_point(run: Any, det: AsyncSpeckleDetector) -> None:
    check_truth(run(several(det, 3, 4)), 12, per_event=4)


def test_a_flight(run: Any, det: AsyncSpeckleDetector) -> None:
    check_truth(run(classify_fly(det, 12, flush_period=0.1)), 12)


def test_a_detector_of_ophyd_async_moves_no_motor(det: AsyncSpeckleDetector, sample: SpeckleSample) -> None:
    with pytest.raises(ValueError, match="moves no motor"):
        list(classify_fly(det, 3, sample.x, 0, 1))


@pytest.mark.parametrize("end", ["abort", "stop"])
def test_an_ended_flight_keeps_its_frames(run: Any, run_engine: RunEngine, det: Any, end: str) -> None:
    timer = threading.Timer(0.8, run_engine.request_pause)
    timer.start()
    with pytest.raises(RunEngineInterrupted):
        run(classify_fly(det, 1000, flush_period=0.1))
    timer.join()
    getattr(run_engine, end)()
    stored = run(bps.null())
    frames = stored.metadata["stop"]["classification"]["frames"]
    assert 0 < frames < 1000
    check_truth(stored, frames)


def test_their_detector_in_steps(run: Any, blob: SimBlobDetector) -> None:
    check(run(classify_count([blob], 3)), "blob", 3)


def test_their_detector_in_flight(run: Any, blob: SimBlobDetector) -> None:
    check(run(classify_fly(blob, 7)), "blob", 7)


def test_their_detector_with_several_frames_for_a_point(run: Any, blob: SimBlobDetector) -> None:
    check(run(several(blob, 2, 3, livetime=0.2)), "blob", 6, per_event=3)


@pytest.mark.parametrize("make", ["det", "blob"])
def test_a_flight_is_read_while_it_goes(run: Any, store: TiledStore, make: str, request: Any) -> None:
    """By another client: the file always holds more than what documents have named."""
    detector = request.getfixturevalue(make)
    over, seen, before = threading.Event(), list[int](), len(store.runs)

    def read() -> None:
        while not over.wait(0.05):
            if len(store.runs) > before and "primary" in (stored := store.runs.values().last()):
                if make in stored["primary"]:
                    seen.append(len(stored["primary"][make].read()))

    reader = threading.Thread(target=read)
    reader.start()
    try:
        run(classify_fly(detector, 30, flush_period=0.1))
    finally:
        over.set()
        reader.join()
    assert seen and seen == sorted(seen)
