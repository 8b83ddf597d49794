"""Labels during a scan, by the documents of bluesky's 0MQ proxy, in the run that its session stores."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky.callbacks.zmq import Proxy, Publisher, RemoteDispatcher
from bluesky.utils import MsgGenerator

from simulated_devices import SpeckleDetector
from speckle_plugin.cli.worker import told
from speckle_plugin.reprocess import Completion
from speckle_plugin.session import Session, start_session
from speckle_plugin.store import find_frames
from speckle_plugin.worker import Worker

# Tiled (0.2.20) opens its subscriptions in a way that websockets (17) wants changed.
pytestmark = pytest.mark.filterwarnings(r"ignore:connect\(\) must be used as a context manager")


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come"
        time.sleep(0.1)


@pytest.fixture
def proxy() -> Iterator[tuple[str, str]]:
    """A proxy on the loopback interface; its addresses for publishers and for listeners."""
    proxy = Proxy("tcp://127.0.0.1", "tcp://127.0.0.1")
    thread = threading.Thread(target=proxy.start, daemon=True)
    thread.start()
    yield str(proxy.in_port), str(proxy.out_port)


@pytest.fixture
def published(session: Session, proxy: tuple[str, str]) -> Iterator[None]:
    """What the session measures goes to the proxy, too."""
    publisher = Publisher(proxy[0])
    token = session.RE.subscribe(publisher)
    yield
    session.RE.unsubscribe(token)
    publisher.close()


@pytest.fixture
def listen(proxy: tuple[str, str]) -> Iterator[Callable[[Callable[..., Any]], None]]:
    """Hand documents of the proxy to a callback, on a thread; returns when they come."""
    ends: list[Callable[[], None]] = []

    def start(callback: Callable[..., Any]) -> None:
        dispatcher = RemoteDispatcher(proxy[1])
        dispatcher.subscribe(callback)
        came = threading.Event()
        dispatcher.subscribe(lambda name, doc: came.set())

        def run() -> None:
            with contextlib.suppress(asyncio.CancelledError):
                dispatcher.start()

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        publisher = Publisher(proxy[0])
        until = time.monotonic() + 30
        while not came.wait(0.1):  # 0MQ says nowhere that a listener is connected
            assert time.monotonic() < until
            publisher("datum", {"datum_id": "probe", "resource": "probe", "datum_kwargs": {}})
        publisher.close()

        def end() -> None:
            for task in asyncio.all_tasks(dispatcher.loop):
                dispatcher.loop.call_soon_threadsafe(task.cancel)
            thread.join(10)

        ends.append(end)

    yield start
    for end in ends:
        end()


@pytest.mark.usefixtures("published")
def test_labels_come_during_the_scan(
    session: Session,
    make_detector: Callable[..., SpeckleDetector],
    make_worker: Callable[..., Worker],
    listen: Callable[[Callable[..., Any]], None],
) -> None:
    worker, rival = make_worker(), make_worker()
    listen(worker.documents())
    listen(rival.documents())
    threads = [threading.Thread(target=one.run, args=(0.5,)) for one in (worker, rival)]
    for thread in threads:
        thread.start()
    det: Any = make_detector(data_directory=session.store.frames_directory)
    seen: list[int] = []

    @bpp.stage_decorator([det])
    @bpp.run_decorator()
    def plan() -> MsgGenerator[None]:
        for _ in range(3):
            yield from bps.trigger_and_read([det])
        wait_for(lambda: len(find_frames(session.catalog)) == 3)
        seen.append(len(find_frames(session.catalog[-1])))
        yield from bps.trigger_and_read([det])

    session.RE(plan())
    assert seen == [3], "labelled while the run was open"
    wait_for(lambda: "classification" in session.catalog[-1].metadata.get("stop", {}))
    for one, thread in zip((worker, rival), threads, strict=True):
        one.end()
        thread.join(60)
    run = session.catalog[-1]
    assert run.metadata["stop"]["classification"]["classified"] == 4
    assert run.metadata["stop"]["num_events"]["classification"] == 4
    assert [name for name in run.base if "classification" in name] == ["classification"], "by one of them"
    assert len(find_frames(run)) == 4
    assert run.validate()


def test_documents_that_are_lost_cost_no_frame(
    session: Session,
    make_detector: Callable[..., SpeckleDetector],
    make_worker: Callable[..., Worker],
) -> None:
    worker = make_worker()
    take = worker.documents()
    det: Any = make_detector(data_directory=session.store.frames_directory)
    session.RE.subscribe(
        lambda name, doc: None if name == "event" and doc["seq_num"] == 2 else take(name, dict(doc))
    )
    session.RE(bp.count([det], 3))
    wait_for(lambda: worker.work() or "classification" in session.catalog[-1].metadata.get("stop", {}))
    summary = session.catalog[-1].metadata["stop"]["classification"]
    assert summary["classified"] == summary["frames"] == 3
    assert sorted(find_frames(session.catalog[-1])["frame_index"]) == [0, 1, 2]


def test_a_session_that_classifies_is_left_alone(
    data_directory: Path,
    bundle_file: Path,
    make_detector: Callable[..., SpeckleDetector],
    make_worker: Callable[..., Worker],
) -> None:
    worker = make_worker()
    with start_session(data_directory, model=str(bundle_file), engine="openvino", table=False) as session:
        det: Any = make_detector(data_directory=session.store.frames_directory)
        assert session.live.classifier
        session.RE.subscribe(worker.documents())
        session.RE(bp.count([det], 3))
        wait_for(lambda: session.catalog[-1].metadata.get("stop"))
        for _ in range(3):
            worker.work()
            time.sleep(0.3)
        run = session.catalog[-1]
        assert len(find_frames(run)) == run.metadata["stop"]["classification"]["frames"] == 3


def test_a_killed_workers_results_are_taken_over(
    session: Session,
    make_detector: Callable[..., SpeckleDetector],
    make_worker: Callable[..., Worker],
) -> None:
    killed = make_worker()
    take = killed.documents()
    det: Any = make_detector(data_directory=session.store.frames_directory)

    def until_killed(name: str, doc: Any) -> None:
        if name != "stop" and not (name == "event" and doc["seq_num"] > 2):
            take(name, dict(doc))

    session.RE.subscribe(until_killed)

    @bpp.stage_decorator([det])
    @bpp.run_decorator()
    def plan() -> MsgGenerator[None]:
        for _ in range(4):
            yield from bps.trigger_and_read([det])
        wait_for(lambda: len(find_frames(session.catalog)) == 2)

    session.RE(plan())
    take.release(session.catalog[-1].start["uid"])
    assert make_worker().work() == 1
    run = session.catalog[-1]
    assert run.metadata["stop"]["classification"]["classified"] == len(find_frames(run)) == 4


def test_what_a_worker_says_of_a_run() -> None:
    """Of one that it labelled by its documents nothing is left to be done at the end."""
    done = Completion("0123456789", 12, "classification", 5)
    assert told(done) == "scan 12 (01234567): 5 frames, labelled during the scan"
    assert told(replace(done, classified=2)).endswith("5 frames, 2 labelled now, 0 flagged, 0 left")


def test_a_session_on_documents_from_elsewhere_closes(data_directory: Path) -> None:
    dispatcher: Any = RemoteDispatcher("127.0.0.1:1")
    with start_session(data_directory, engine="none", run_engine=dispatcher, table=False) as session:
        assert session.RE is dispatcher
    dispatcher.stop()
