"""Documents are routed to their run once, and nobody waits for a journal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import pytest
from bluesky import RunEngine

from simulated_devices import SpeckleDetector
from speckle_plugin.documents.routing import OpenRuns, RunCallback
from speckle_plugin.live import LiveClassifier
from speckle_plugin.live.delivery import Flushable, Recorder, RunSubscriber
from speckle_plugin.plans import classify_count
from speckle_plugin.store import RunSaver
from tests.testing import Documents, FakeEngine


class PerRun(RunCallback[Callable[[str, Mapping[str, Any]], None]]):
    """Keeps the names of each run's documents, in a list of the run's own."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, list[str]] = {}
        self.uids: dict[str, set[str]] = {}

    def open_run(self, start: Mapping[str, Any]) -> Callable[[str, Mapping[str, Any]], None]:
        names = self.names[start["uid"]] = []
        uids = self.uids[start["uid"]] = set()

        def follow(name: str, doc: Mapping[str, Any]) -> None:
            names.append(name)
            uids.add(doc.get("run_start", start["uid"]))

        return follow


def two_runs_at_once(first: SpeckleDetector, second: SpeckleDetector) -> Any:
    def inner(detector: SpeckleDetector, key: str) -> Any:
        return bpp.set_run_key_wrapper(bps.trigger_and_read([detector]), key)

    def plan() -> Any:
        for key in ("first", "second"):
            yield from bpp.set_run_key_wrapper(bps.open_run(), key)
        for _ in range(3):
            yield from inner(first, "first")
            yield from inner(second, "second")
        for key in ("first", "second"):
            yield from bpp.set_run_key_wrapper(bps.close_run(), key)

    return bpp.stage_wrapper(plan(), [first, second])


def test_runs_open_at_once_are_told_apart(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., SpeckleDetector],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    live, behind, beside = make_live(), PerRun(), PerRun()
    live.subscribe(behind)
    run_engine.subscribe(beside)
    run_engine.subscribe(live)
    run_engine(two_runs_at_once(make_detector("one"), make_detector("two")))
    raw = ["start", "descriptor", *["resource", "datum", "event"] * 3, "stop"]
    assert list(beside.names.values()) == [raw, raw]
    for uid, names in behind.names.items():
        assert behind.uids[uid] == {uid}
        assert sorted(names) == sorted([*raw, "descriptor", *["event"] * 3])
        assert names[0] == "start" and names[-1] == "stop"


def test_a_document_is_routed_once(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., SpeckleDetector],
    documents: Documents,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Any,
) -> None:
    routed: list[str] = []
    find = OpenRuns.find

    def spy(self: OpenRuns[Any], name: str, doc: Mapping[str, Any]) -> list[Any]:
        routed.append(name)
        return find(self, name, doc)

    monkeypatch.setattr(OpenRuns, "find", spy)
    live, saver = make_live(), RunSaver(None, tmp_path / "journal")
    live.subscribe(saver, saves=True)
    live.subscribe(PerRun())
    run_engine.subscribe(live)
    run_engine(bp.count([make_detector()], 2))
    assert routed == ["descriptor", *["resource", "datum", "event"] * 2]
    assert len(documents.rows()) == 2
    assert list(saver.failures) == [documents.of("start")[0]["uid"]]  # there is no Tiled; and it was told


def test_what_a_subscriber_can_do_is_seen_from_its_methods(tmp_path: Any) -> None:
    saver = RunSaver(None, tmp_path)
    assert isinstance(saver, RunSubscriber) and isinstance(saver, Recorder) and isinstance(saver, Flushable)
    assert isinstance(saver.open_run({"uid": "run"}), Recorder)
    assert not isinstance(print, Recorder | RunSubscriber | Flushable)
    saver.close()


def test_classifying_does_not_wait_for_a_journal(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., SpeckleDetector],
    documents: Documents,
    engine: FakeEngine,
) -> None:
    """While the plan's thread writes a row into a slow journal, frames that wait are classified."""
    batches_meanwhile: list[int] = []

    class SlowJournal:
        rows = 0

        def __call__(self, name: str, doc: Mapping[str, Any]) -> None:
            pass

        def record(self, name: str, doc: Mapping[str, Any]) -> None:
            if name == "event" and "disk_number" in doc["data"]:
                self.rows += 1
                if self.rows == 1:  # the third frame, deferred at once since two wait
                    engine.may_answer.set()
                    deadline = time.monotonic() + 5
                    while len(engine.batches) < 2 and time.monotonic() < deadline:
                        time.sleep(0.01)
                    batches_meanwhile.extend(engine.batches)

    engine.may_answer.clear()
    live = make_live(pending_bytes=65 * 65 * 4 * 2, batch=1)
    live.subscribe(SlowJournal(), saves=True)
    run_engine.subscribe(live)
    run_engine(classify_count([make_detector()], 3, when_full="defer"))
    assert batches_meanwhile == [1, 1]
    (counts,) = documents.frame_counts()
    assert (counts["classified"], counts["deferred"]) == (2, 1)
