"""What the pages of the monitor show, on a real Tiled server; without a browser."""

from __future__ import annotations

import os
import signal
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky import plans as bp

from speckle_plugin.live import SecondOpinion
from speckle_plugin.monitor import growing_tables, model, run_list
from speckle_plugin.monitor.explaining import Asked, explain_asked
from speckle_plugin.monitor.followed import WAITING, FollowedRun, RunState
from speckle_plugin.monitor.growing_tables import GrowingTables
from speckle_plugin.monitor.model import Monitor
from speckle_plugin.monitor.region_means import MOST_POINTS, RegionMeans
from speckle_plugin.monitor.run_list import PAGE, RunPage
from speckle_plugin.monitor.shown_frame import show_frame
from speckle_plugin.preprocessing import FrameGeometry, hash_mask
from speckle_plugin.store import RunSaver, Store, StoredRun, TiledStore, find_frames
from speckle_plugin.store.server.address import read_address
from tests.testing import FileCamera, documents_of
from tests.testing.stored_runs import CLASSES, measure

# Tiled (0.2.20) opens its subscriptions in a way that websockets (17) wants changed.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")


@pytest.fixture
def make_monitor() -> Iterator[Callable[..., Monitor]]:
    made: list[Monitor] = []

    def make(store: Store, **settings: Any) -> Monitor:
        made.append(Monitor(store, **settings))
        return made[-1]

    yield make
    for one in made:
        one.close()


def wait_for(look: Callable[[], Any], seconds: float = 20.0) -> Any:
    """Ask again and again, as pages do, until there is an answer."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, "it does not come"
        time.sleep(0.05)
    return found


def state_of(monitor: Monitor, uid: str, wanted: Callable[[RunState], bool] = lambda state: True) -> RunState:
    def look() -> RunState | None:
        state = monitor.follow(uid).state
        return state if state is not None and wanted(state) else None

    found: RunState = wait_for(look)
    return found


def page_of(monitor: Monitor, number: int = 0, narrowed: str = "all runs", total: int = 0) -> RunPage:
    def look() -> RunPage | None:
        page = monitor.run_page(number, narrowed)
        return page if page is not None and page.total >= total else None

    found: RunPage = wait_for(look)
    return found


def test_a_run_is_what_queries_say(
    store: TiledStore, run_engine: RunEngine, make_monitor: Callable[..., Monitor]
) -> None:
    uid = measure(run_engine, store, 6, sample="A7")
    monitor = make_monitor(store)
    state = state_of(monitor, uid)
    assert state.table.equals(find_frames(store.runs[uid]))
    assert not state.is_open and state.counts == {"classified": 6, "flagged": 0, "deferred": 0, WAITING: 0}
    assert (state.layout.kind, state.layout.x, state.layout.x_label) == ("line", "sample_x", "sample_x (mm)")
    assert state.model["model"] == "sevens" and state.latency is not None and not state.has_structures
    (row,) = [row for row in page_of(monitor).rows if row.uid == uid]
    assert (row.frames, row.sample, row.plan, row.state) == (6, "A7", "scan", "success")
    assert row.min_confidence == pytest.approx(state.lowest_confidence) == state.table["confidence"].min()
    assert monitor.tiled_page(uid).endswith(f"/ui/browse/runs/{uid}/")
    assert str(store.api_key) not in monitor.tiled_page(uid)


def test_runs_come_in_pages_the_newest_first(
    data_directory: Path, make_monitor: Callable[..., Monitor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_list, "PAGE", 3)
    monkeypatch.setattr(model, "LIST_INTERVAL", 0.5)
    uids = [str(uuid.uuid4()) for _ in range(7)]
    with TiledStore(data_directory) as store:
        monitor = make_monitor(store)
        assert page_of(monitor) == RunPage((), 0, 0)
        saver = RunSaver(store.runs, store.journal_directory)
        for uid in uids:
            for name, doc in documents_of(uid, [1]):
                saver(name, doc)
        saver.close()
        newest = page_of(monitor, total=7)
        assert [row.uid for row in newest.rows] == uids[:-4:-1], "without another word, a little later"
        assert [row.uid for row in page_of(monitor, 2).rows] == uids[:1]
        assert page_of(monitor, 9).number == 2, "behind the last page there is the last one"
        assert page_of(monitor, 0, "with flagged frames").rows == ()
        monitor.close()
    assert PAGE > 3


def test_a_run_grows_without_its_table_being_read_again(
    store: TiledStore,
    measure_beside: Callable[..., threading.Thread],
    make_monitor: Callable[..., Monitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(growing_tables, "LONGEST_PAUSE", 60.0)
    monkeypatch.setattr(growing_tables, "SHARE", 1000.0)  # no look but the first, and at the end
    monitor = make_monitor(store)
    asked: list[str] = []
    store.runs.context.http_client.event_hooks["request"].append(
        lambda request: asked.append(request.url.path) if request.method == "GET" else None
    )
    before = page_of(monitor).total
    seen, shown = [0], {}
    scan = measure_beside(store, 12, held=lambda frames: frames in (4, 8) and seen[-1] < frames)
    uid = page_of(monitor, total=before + 1).rows[0].uid
    while scan.is_alive():
        state = monitor.follow(uid).state
        if state is not None and state.is_open and state.counts["classified"] > seen[-1]:
            seen.append(state.counts["classified"])
            assert monitor.run_page(0, "all runs").rows[0].uid == uid  # type: ignore[union-attr]
            (key,) = state.image_keys
            shown[seen[-1] - 1] = monitor.frame(uid, key, seen[-1] - 1).result(20.0)
        time.sleep(0.05)
    reads = [path for path in asked if path.endswith("internal") and "/table/" in path]
    state = state_of(monitor, uid, lambda state: not state.is_open)
    assert state.table.equals(find_frames(store.runs[uid])) and len(state.table) == 12
    assert {4, 8} <= set(seen) and seen == sorted(seen)
    assert len([path for path in reads if uid in path]) <= 4, "each table once; the rest is told"
    # The frames, too, are read from what the looks know.
    for index, frame in shown.items():
        anew = show_frame(StoredRun(store.runs[uid]), frame.image_key, index)
        assert np.array_equal(frame.pixels, anew.pixels) and frame.beam_center == anew.beam_center
        assert frame.probabilities == anew.probabilities != {}


def test_it_grows_where_the_server_says_nothing(
    store: TiledStore,
    measure_beside: Callable[..., threading.Thread],
    make_monitor: Callable[..., Monitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Deaf:
        silence = float("inf")

        def __init__(self, *arguments: Any) -> None:
            pass

        def close(self) -> None:
            pass

    monkeypatch.setattr(growing_tables, "Listener", Deaf)
    monkeypatch.setattr(model, "Listener", Deaf)
    monkeypatch.setattr(growing_tables, "SILENCE", 0.3)
    monkeypatch.setattr(growing_tables, "SHARE", 1.0)
    monkeypatch.setattr(model, "LIST_INTERVAL", 0.3)
    monitor = make_monitor(store)
    before = page_of(monitor).total
    seen: set[int] = set()
    scan = measure_beside(store, 12, held=lambda frames: frames in (4, 8) and frames not in seen)
    uid = page_of(monitor, total=before + 1).rows[0].uid
    while scan.is_alive():
        seen.add(state_of(monitor, uid).counts["classified"])
        time.sleep(0.05)
    assert {4, 8} <= seen
    assert state_of(monitor, uid, lambda state: not state.is_open).counts["classified"] == 12


def test_frames_without_labels_and_without_positions(
    store: TiledStore,
    run_engine: RunEngine,
    make_monitor: Callable[..., Monitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ROWS", "COLUMNS"):
        monkeypatch.setattr(f"tests.testing.camera.{name}", 40)  # smaller ones are no frames
    saver = RunSaver(store.runs, store.journal_directory)
    camera: Any = FileCamera("det", store.frames_directory, 2)
    token = run_engine.subscribe(saver)
    result: Any = run_engine(bp.count([camera], 3))
    run_engine.unsubscribe(token)
    saver.close()
    monitor = make_monitor(store)
    state = state_of(monitor, result.run_start_uids[0])
    assert state.layout.kind == "time" and state.counts[WAITING] == 6 and not state.model
    assert list(state.table["frame_index"]) == list(range(6))
    assert list(state.table["primary_seq_num"]) == [1, 1, 2, 2, 3, 3]
    assert np.isfinite(state.table["time"]).all() and state.lowest_confidence is None and state.behind == 0
    frame = monitor.frame(state.uid, "det_image", 4).result(20)
    assert np.all(frame.pixels == 4) and frame.probabilities == {} and frame.beam_center is None
    mean = monitor.frame(state.uid, "det_image", 4, averaged=5).result(20)
    assert mean.averaged == 5 and np.all(mean.pixels == 2.0)
    assert monitor.frame(state.uid, "det_image", 1, averaged=20).result(20).averaged == 2
    with pytest.raises(ValueError, match="none with index 6"):
        monitor.frame(state.uid, "det_image", 6).result(20)
    with pytest.raises(ValueError, match="no network has labelled"):
        monitor.explain(state.uid, "det_image", 0).result(20)


def test_a_large_frame_is_thinned_before_it_goes_to_the_browser(
    store: TiledStore,
    run_engine: RunEngine,
    make_monitor: Callable[..., Monitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("ROWS", "COLUMNS"):
        monkeypatch.setattr(f"tests.testing.camera.{name}", 4000)
    saver = RunSaver(store.runs, store.journal_directory)
    camera: Any = FileCamera("det", store.frames_directory, dtype="<u2")
    token = run_engine.subscribe(saver)
    result: Any = run_engine(bp.count([camera], 2))
    run_engine.unsubscribe(token)
    saver.close()
    uid = result.run_start_uids[0]
    frame = make_monitor(store).frame(uid, "det_image", 1).result(30)
    assert frame.shape == (4000, 4000) and frame.factor == 6 and frame.pixels.shape == (667, 667)
    assert np.all(frame.pixels == 1)
    sent: list[int] = []
    hooks = store.runs.context.http_client.event_hooks["response"]
    hooks.append(lambda response: sent.append(int(response.headers.get("content-length", 0))))
    means = RegionMeans("det_image", (100, 120), (3000, 3010))
    assert means.work(StoredRun(store.runs[uid]))
    assert max(sent) < 100_000, "the server gives the region only"
    indices, values = means.curve()
    assert (list(indices), list(values)) == ([0, 1], [0.0, 1.0])


def test_a_region_has_points_enough_and_not_more(store: TiledStore, run_engine: RunEngine) -> None:
    uid = measure(run_engine, store, 20)
    means = RegionMeans("det_image", (3, 9), (4, 30))
    while means.work(StoredRun(store.runs[uid])):
        pass
    stored = StoredRun(store.runs[uid])
    frames = list(stored.images["det_image"].read(range(20)))
    indices, values = means.curve()
    assert list(indices) == list(range(20))
    np.testing.assert_allclose(values, [frame[3:9, 4:30].mean() for frame in frames], rtol=1e-6)
    assert len(means.missing(100_000)) <= MOST_POINTS
    assert set(means.missing(100_000)) >= set(means.missing(200_000)) - set(range(100_000, 200_000))


def test_the_mask_of_the_session_is_known_by_its_hash(store: TiledStore, run_engine: RunEngine) -> None:
    uid = measure(run_engine, store, 2)
    stored = StoredRun(store.runs[uid])
    mask = np.zeros((65, 65), bool)
    mask[:10] = True
    told = {**stored.model, "masks": [f"det_image {hash_mask(mask)}"]}
    for masks, note in (({}, "not in the settings"), ({"mine": mask}, "mask of the session")):
        stored = StoredRun(store.runs[uid])
        stored.__dict__["model"] = told
        frame = show_frame(stored, "det_image", 0, masks=masks)
        assert note in frame.mask_note
        assert frame.masked.sum() == (0 if not masks else 650)


def test_the_solved_sample_is_there(
    store: TiledStore, run_engine: RunEngine, make_monitor: Callable[..., Monitor]
) -> None:
    opinion = SecondOpinion("all", workers=1, wait=60.0)
    uid = measure(run_engine, store, 1, disk_numbers=(2,), second_opinion=opinion)
    monitor = make_monitor(store)
    state = state_of(monitor, uid)
    frame = monitor.frame(uid, "det_image", 0).result(20)
    assert state.has_structures and frame.opinion
    (row,) = StoredRun(store.runs[uid]).structures.rows.values()
    assert frame.structure is not None
    assert frame.structure.disk_number == row.data["disk_number"]
    assert list(frame.structure.r) == [disk[2] for disk in row.data["disks"][: row.data["disk_number"]]]
    assert sum(frame.probabilities.values()) == pytest.approx(1.0) and set(frame.probabilities) == set(
        CLASSES
    )


def test_no_such_run(store: TiledStore, make_monitor: Callable[..., Monitor]) -> None:
    monitor = make_monitor(store)
    for uid in ("no-such-run", "abc", str(uuid.uuid4())):
        monitor.follow(uid)
        found = partial(lambda uid: monitor.follow(uid) and monitor.problem_of(uid), uid)
        assert wait_for(found) == f"There is no run {uid}."
    assert monitor.connection.problem == ""


def test_the_server_restarts_under_it(
    data_directory: Path,
    run_engine: RunEngine,
    make_monitor: Callable[..., Monitor],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    interval = "speckle_plugin.store.server.join.WATCH_INTERVAL"
    monkeypatch.setattr(interval, 0.1)
    monkeypatch.setattr(model, "LIST_INTERVAL", 0.3)
    with TiledStore(data_directory) as store:
        first = measure(run_engine, store, 2)
        monitor = make_monitor(store)
        state_of(monitor, first)
        address = read_address(data_directory)
        assert address is not None
        monkeypatch.setattr(interval, 2.0)  # so long is it gone: not to be missed
        time.sleep(0.3)
        os.kill(address.pid, signal.SIGKILL)

        def problem() -> str:
            monitor.run_page(0, "all runs")  # as a page does
            monitor.follow(first)
            return monitor.connection.problem

        said = wait_for(problem)
        assert "does not answer since" in said and str(store.api_key) not in said
        wait_for(lambda: not problem(), 40.0)
        second = measure(run_engine, store, 3)
        assert page_of(monitor, total=2).rows[0].uid == second
        assert state_of(monitor, second, lambda state: not state.is_open).counts["classified"] == 3
        monitor.close()


def test_saliency_of_another_network_is_refused(store: TiledStore, run_engine: RunEngine) -> None:
    asked = Asked(np.ones((64, 64)), FrameGeometry((64, 64)), None, True, "theirs", "ab" * 32, ("quadrant",))
    with pytest.raises(ValueError, match="'theirs' .* is not here: start the monitor with the setting model"):
        explain_asked(asked)


@pytest.mark.slow
def test_saliency_comes_from_a_process_of_its_own(
    data_directory: Path, make_monitor: Callable[..., Monitor], make_detector: Callable[..., Any]
) -> None:
    from simulated_devices import quadrant
    from speckle_plugin.session import start_session

    with start_session(data_directory, table=False) as session:
        det = make_detector(data_directory=session.store.frames_directory, grid=quadrant(257))
        (uid,) = session.RE(bp.count([det], 1))  # type: ignore[misc]
        monitor = make_monitor(session.store)
        answer: Future[Any] = monitor.explain(uid, "det_image", 0)
        found = answer.result(240)
        assert found.strength.shape == (257, 257) and found.strength.max() > 0
        assert found.disk_number == session.catalog[uid].metadata["stop"]["classification"]["labels"][0]
        monitor.close()


def test_a_run_whose_events_come_after_its_results(
    run_engine: RunEngine, store: TiledStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its frames are placed when the events are there, though nothing else has changed."""
    hidden = ["primary"]
    read = GrowingTables.read

    def read_late(tables: GrowingTables, run: Any, stream: str, columns: Any) -> Any:
        return None if stream in hidden else read(tables, run, stream, columns)

    monkeypatch.setattr(GrowingTables, "read", read_late)
    followed = FollowedRun(store.runs, measure(run_engine, store, 4))
    seen = []
    for _ in range(3):
        followed.look()
        assert followed.state is not None
        seen.append((followed.state.version, followed.state.layout.kind, len(followed.state.table)))
        hidden.clear()
    followed.close()
    (first, kind, _), (second, placed, frames), (third, *_) = seen
    assert kind == "time" and placed == "line" and frames == 4
    assert first != second and second == third
