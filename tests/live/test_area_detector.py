"""Classic AreaDetector devices against the project's IOC: a process that serves EPICS and writes files.

The devices are those that beamlines write: ophyd's SingleTrigger and file plugins.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import bluesky.plans as bp
import numpy as np
import ophyd
import pytest
from bluesky import RunEngine
from bluesky.run_engine import TransitionError  # type: ignore[attr-defined]
from ophyd.signal import EpicsSignalBase

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.reprocess.complete import complete_run
from speckle_plugin.store import RunSaver, TiledStore, find_frames
from tests.docs.pages import ROOT, blocks
from tests.ioc import PREFIX, Ioc, make_detector

PAGE = ROOT / "docs/how-to/detectors.md"
POINTS = 4
CENTER = FrameSettings(beam_center=(0.0, 0.0))

# ophyd waits one second for a record; on busy cores the IOC, which is a simulation, may need longer.
EpicsSignalBase.set_defaults(connection_timeout=5)

# caproto's client leaves its sockets to the end of the process.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(scope="module")
def ioc() -> Iterator[Ioc]:
    """Give the IOC, and have ophyd's clients look for it there."""
    ioc = Ioc(pixels=257)
    patch = pytest.MonkeyPatch()
    for name, value in ioc.environment.items():
        patch.setenv(name, value)
    before = ophyd.get_cl().name
    ophyd.set_cl("caproto")
    yield ioc
    ophyd.set_cl(before)
    patch.undo()
    ioc.close()


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TiledStore]:
    with TiledStore(tmp_path_factory.mktemp("data")) as opened:
        yield opened


@pytest.fixture
def make_device(ioc: Ioc, store: TiledStore) -> Callable[..., Any]:
    return lambda plugin, **settings: make_detector(plugin, str(store.frames_directory), **settings)


@pytest.fixture
def measure(run_engine: RunEngine, store: TiledStore) -> Iterator[Callable[..., Any]]:
    """Give what scans the sample with a device and a classifier, and gives the stored run."""
    opened: list[Any] = []

    def scan(live: LiveClassifier, device: Any) -> Any:
        saver = RunSaver(store.runs, store.journal_directory)
        opened.append(saver)
        live.subscribe(saver, saves=True)
        run_engine.subscribe(live)
        run_engine(bp.scan([device], device.sample.x, -0.9, 0.9, POINTS))
        assert not saver.failures
        return store.runs.values().last()

    yield scan
    for saver in opened:
        saver.close()


def check(run: Any, frames: int) -> Any:
    """See that each frame has a row for its point, with pixels and truth, and give the rows."""
    table = find_frames(run, with_frames=True)
    per_point = frames // POINTS
    assert table["primary_seq_num"].tolist() == [1 + i // per_point for i in range(frames)]
    assert run.metadata["stop"]["classification"]["frames"] == frames
    assert not table["truth_disk_number"].isna().any()
    assert all(frame.shape == (257, 257) and frame.any() for frame in table["frame"])
    assert len({frame.tobytes() for frame in table["frame"]}) == frames
    return table


def test_frames_get_the_labels_they_should_have(measure: Any, make_device: Any) -> None:
    """With the shipped weights, while the file grows."""
    live = LiveClassifier(Classifier(), CENTER)
    try:
        table = check(measure(live, make_device("hdf5", swmr=True)), POINTS)
    finally:
        live.close()
    assert set(table["status"]) == {"classified"}
    assert table["disk_number"].tolist() == table["truth_disk_number"].tolist()
    assert table["truth_disk_number"].nunique() > 1


def test_the_code_of_the_page(
    run_engine: RunEngine, store: TiledStore, ioc: Ioc, make_live: Callable[..., LiveClassifier]
) -> None:
    """Word for word, but for the prefix: every frame gets a label, none of them an assumed beam centre."""
    code = next(block.text for block in blocks(PAGE) if block.kind == "python")
    assert '"SPECKLE:"' in code
    live, saver = make_live(), RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)
    exec(
        code.replace('"SPECKLE:"', f'"{PREFIX}"'), {"session": SimpleNamespace(store=store), "RE": run_engine}
    )
    saver.close()
    table = find_frames(store.runs.values().last(), with_frames=True)
    assert len(table) == 10 and set(table["status"]) == {"classified"}
    assert not table["flags"].str.contains("assumed_center|saturated").any()
    assert max(frame.max() for frame in table["frame"]) < np.iinfo(np.uint16).max


def test_a_locked_file_is_deferred_and_completed(measure: Any, make_device: Any) -> None:
    """As the plugin comes: the file is locked until the device is unstaged."""
    classifier = Classifier()
    live = LiveClassifier(classifier, CENTER)
    try:
        run = measure(live, make_device("hdf5"))
    finally:
        live.close()
    summary = run.metadata["stop"]["classification"]
    assert (summary["frames"], summary["deferred"], summary["flagged"]) == (POINTS, POINTS, 0)
    (problem,) = summary["problems"]
    assert problem["frames"] == POINTS
    assert "SWMRMode on before the capture, NumFramesFlush 1" in problem["reason"]
    complete_run(run, classifier)
    run.refresh()
    table = check(run, POINTS)
    assert set(table["status"]) == {"classified"}
    assert table["disk_number"].tolist() == table["truth_disk_number"].tolist()


@pytest.mark.parametrize(
    ("plugin", "settings", "frames"),
    [
        ("hdf5", {"swmr": True, "num_images": 3}, 3 * POINTS),
        ("hdf5_single", {}, POINTS),
        ("hdf5_single", {"num_images": 2}, 2 * POINTS),
        ("tiff", {}, POINTS),
        ("tiff", {"num_images": 2}, 2 * POINTS),
    ],
)
def test_several_frames_and_a_file_for_each(
    measure: Any,
    make_device: Any,
    make_live: Callable[..., LiveClassifier],
    plugin: str,
    settings: dict[str, Any],
    frames: int,
) -> None:
    run = measure(make_live(CENTER), make_device(plugin, **settings))
    assert set(check(run, frames)["status"]) == {"classified"}


def test_the_image_array(make_device: Any, ioc: Ioc) -> None:
    from ophyd import EpicsSignalRO

    device = make_device("hdf5")
    image = EpicsSignalRO("TEST:image1:ArrayData", name="image")
    image.wait_for_connection(timeout=10)
    device.cam.image_mode.set("Single").wait(10)
    device.cam.acquire.set(1).wait(10)
    deadline = time.monotonic() + 10
    while not np.any(image.get()) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert np.asarray(image.get()).shape == (257 * 257,)
    assert device.truth_disk_number.get() > 1


def test_an_ioc_that_vanishes(
    run_engine: RunEngine,
    store: TiledStore,
    make_live: Callable[..., LiveClassifier],
    ioc: Ioc,
    make_device: Any,
) -> None:
    """The scan waits for the detector until someone ends it; what was measured is stored and labelled."""
    device = make_device("hdf5", swmr=True)
    live, saver = make_live(CENTER), RunSaver(store.runs, store.journal_directory)
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)
    started: list[str] = []
    events: list[str] = []

    def end() -> None:
        with suppress(TransitionError):  # ophyd may have given up before
            run_engine.abort("the detector is gone")

    def vanish(name: str, doc: dict[str, Any]) -> None:
        if name == "start":
            started.append(doc["uid"])
        if name == "event":
            events.append(doc["uid"])
            if len(events) == 3:
                ioc.process.kill()
                threading.Timer(3, end).start()

    run_engine.subscribe(vanish)
    with pytest.raises(Exception):  # noqa: B017  by the abort, or by what ophyd finds in unstaging
        run_engine(bp.count([device], 100))
    live.close()
    saver.close()
    assert not saver.failures
    assert len(events) >= 3, "the scan ended before the IOC was killed"
    run = store.runs[started[0]]
    assert run.metadata["stop"]["exit_status"] in ("abort", "fail")
    table = find_frames(run)
    assert len(table) >= 3 and set(table["status"]) == {"classified"}
