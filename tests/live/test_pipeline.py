"""The live classifier on a real RunEngine: every frame gets one row, whatever happens."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import event_model
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import RequestStop

from simulated_devices import PixelGrid, SpeckleDetector
from speckle_plugin.documents.descriptors import FrameSettings, describe_detector
from speckle_plugin.documents.frame_finder import FrameFinder, FrameReference
from speckle_plugin.live import LiveClassifier
from speckle_plugin.live.results import RunResults
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier, FrameResult
from speckle_plugin.plans import classify_count, classify_grid_scan, classify_scan
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.schema import Flag, Status
from speckle_plugin.store import RunSaver
from tests.testing.engine import CLASSES, FakeEngine


def test_each_frame_of_a_scan_has_a_row(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    live, det = make_live(), make_detector()
    run_engine.subscribe(live)
    run_engine(classify_scan([det], det.sample.x, -1, 1, 5))
    rows = documents.rows()
    assert [row["frame_index"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["primary_seq_num"] for row in rows] == [1, 2, 3, 4, 5]
    assert {row["disk_number"] for row in rows} == {7}
    assert {row["status"] for row in rows} == {"classified"}
    assert all(sum(row["probabilities"]) == pytest.approx(1.0, abs=1e-5) for row in rows)
    (summary,) = documents.frame_counts()
    assert summary["labels"] == [7] and summary["counts"] == {"7": 5} and summary["frames"] == 5
    assert documents.of("stop")[0]["num_events"] == {"primary": 5, "classification": 5}
    assert documents[0][0] == "start" and documents[-1][0] == "stop"
    report = live.reports[documents.of("start")[0]["uid"]]
    assert len(report.to_label) == len(report.to_stored) == 5


def test_values_are_plain(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    """NumPy scalars would corrupt the journal, and an int before a float breaks Tiled's table."""
    run_engine.subscribe(make_live())
    run_engine(classify_count([make_detector()], 2))
    kinds = {
        "image_key": str, "frame_index": int, "primary_seq_num": int, "status": str, "disk_number": int,
        "confidence": float, "probabilities": list, "entropy": float, "novelty": float,
        "flags": str, "possible": str, "latency": float,
    }  # fmt: skip
    for row in documents.rows():
        assert {key: type(value) for key, value in row.items()} == kinds
        assert {type(p) for p in row["probabilities"]} == {float}


def test_the_descriptor_names_the_model(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    run_engine.subscribe(make_live())
    run_engine(bp.count([make_detector()]))
    (descriptor,) = [d for d in documents.of("descriptor") if d["name"] == "classification"]
    configuration = descriptor["configuration"]["classifier"]
    assert configuration["data"]["model"] == "fake"
    assert configuration["data"]["engine"] == "fake"
    assert set(configuration["data"]) == set(configuration["data_keys"]) == set(configuration["timestamps"])


def test_raw_documents_pass_unchanged(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    raw: list[tuple[str, dict[str, Any]]] = []
    run_engine.subscribe(lambda name, doc: raw.append((name, doc)))
    run_engine.subscribe(make_live())
    run_engine(bp.count([make_detector()], 3))
    results = {d["uid"] for d in documents.of("descriptor") if d["name"] == "classification"}
    passed = [
        (name, doc)
        for name, doc in documents
        if name != "stop" and doc.get("uid") not in results and doc.get("descriptor") not in results
    ]
    assert passed == [(name, doc) for name, doc in raw if name != "stop"]


@pytest.mark.parametrize("when_full", ["wait", "defer"])
def test_plans_write_their_choice_into_the_run(
    run_engine, make_live, make_detector, documents, when_full
) -> None:
    run_engine.subscribe(make_live())
    det = make_detector()
    plan = classify_grid_scan([det], det.sample.y, -1, 1, 2, det.sample.x, -1, 1, 2, when_full=when_full)
    run_engine(plan)
    start = documents.of("start")[0]
    assert start["plan_name"] == "classify_grid_scan"
    assert start["classification"] == {"when_full": when_full}
    assert len(documents.rows()) == 4


def test_plans_refuse_an_unknown_choice(run_engine: RunEngine, make_detector) -> None:
    with pytest.raises(ValueError, match="when_full must be 'wait'"):
        run_engine(classify_count([make_detector()], when_full="drop"))  # type: ignore[arg-type]


@pytest.mark.parametrize("num", [0, -1])
def test_a_count_without_exposures_makes_no_run(run_engine, make_detector, num: int) -> None:
    documents: list[str] = []
    run_engine.subscribe(lambda name, doc: documents.append(name))
    with pytest.raises(ValueError, match=f"num is {num}: give the number of exposures, 1 or more"):
        run_engine(classify_count([make_detector()], num))
    assert not documents


def test_a_burst_has_a_row_for_each_frame(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    run_engine.subscribe(make_live())
    run_engine(bp.count([make_detector(frames_per_trigger=4)], 3))
    rows = documents.rows()
    assert [row["frame_index"] for row in rows] == list(range(12))
    assert [row["primary_seq_num"] for row in rows] == [1] * 4 + [2] * 4 + [3] * 4


def test_waiting_frames_go_in_batches(run_engine, make_live, make_detector, documents, engine) -> None:
    engine.may_answer.clear()
    run_engine.subscribe(make_live(batch=8))
    threading.Timer(1.0, engine.may_answer.set).start()
    run_engine(bp.count([make_detector(frames_per_trigger=20)], 1))
    assert sum(engine.batches) == 20 and max(engine.batches) == 8


def test_two_detectors_do_not_mix(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    run_engine.subscribe(make_live())
    run_engine(bp.count([make_detector("one"), make_detector("two", frames_per_trigger=2)], 3))
    indices: dict[str, list[int]] = {key: [] for key in ("one_image", "two_image")}
    for row in documents.rows():
        indices[row["image_key"]].append(row["frame_index"])
    assert indices == {"one_image": [0, 1, 2], "two_image": [0, 1, 2, 3, 4, 5]}
    assert documents.frame_counts()[0]["frames"] == 9


def test_two_runs_open_at_once_do_not_mix(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    run_engine.subscribe(make_live())
    det = make_detector()

    def shots(count: int):
        yield from bps.open_run()
        for _ in range(count):
            yield from bps.trigger_and_read([det])
        yield from bps.close_run()

    def nested():
        yield from bpp.set_run_key_wrapper(bps.open_run(), "outer")
        yield from bpp.set_run_key_wrapper(bps.trigger_and_read([det]), "outer")
        yield from bpp.set_run_key_wrapper(shots(2), "inner")
        yield from bpp.set_run_key_wrapper(bps.trigger_and_read([det]), "outer")
        yield from bpp.set_run_key_wrapper(bps.close_run(), "outer")

    run_engine(bpp.stage_wrapper(nested(), [det]))
    outer, inner = (doc["uid"] for doc in documents.of("start"))
    assert [row["frame_index"] for row in documents.rows(outer)] == [0, 1]
    assert [row["frame_index"] for row in documents.rows(inner)] == [0, 1]
    assert sorted(summary["frames"] for summary in documents.frame_counts()) == [2, 2]


def test_a_run_without_frames_gets_no_stream(run_engine: RunEngine, make_live, documents) -> None:
    from ophyd.sim import det as scalar

    run_engine.subscribe(make_live())
    run_engine(bp.count([scalar], 2))
    assert [d["name"] for d in documents.of("descriptor")] == ["primary"]
    assert "classification" not in documents.of("stop")[0]


def test_images_in_events_are_classified(run_engine: RunEngine, make_live, documents) -> None:
    from ophyd.sim import SynSignal

    image = SynSignal(func=lambda: np.random.default_rng(0).random((40, 50)), name="camera")
    run_engine.subscribe(make_live())
    run_engine(bp.count([image], 2))
    rows = documents.rows()
    assert [row["status"] for row in rows] == ["classified"] * 2
    assert rows[0]["flags"] == "assumed_center"


def test_only_wanted_image_keys(run_engine: RunEngine, make_live, make_detector, documents) -> None:
    run_engine.subscribe(make_live(FrameSettings(image_keys=("two_image",))))
    run_engine(bp.count([make_detector("one"), make_detector("two")]))
    assert [row["image_key"] for row in documents.rows()] == ["two_image"]


@pytest.mark.parametrize(
    ("frames", "settings", "problem"),
    [
        (FrameSettings(masks={"det_image": np.zeros((10, 10), bool)}), {}, "the mask has the shape"),
        (FrameSettings(masks={"det_image": np.ones((65, 65), bool)}), {}, "too little of the frame"),
        (None, {"grid": PixelGrid((65, 65), beam_center=(-40.0, 0.0))}, "too little of the frame"),
    ],
    ids=["mask of another shape", "mask of everything", "beam off the detector"],
)
def test_a_geometry_that_does_not_fit_flags_frames(
    run_engine, make_live, make_detector, documents, frames, settings, problem
) -> None:
    run_engine.subscribe(make_live(frames))
    run_engine(bp.count([make_detector(**settings)], 2))
    assert [row["flags"] for row in documents.rows()] == ["unusable_geometry"] * 2
    (summary,) = documents.frame_counts()
    assert summary["flagged"] == 2 and problem in summary["problems"][0]["reason"]


RAMP = np.add.outer(np.arange(65), 17 * np.arange(65)).astype(np.float32)[None]


def _overwrite(path: Path, frames: np.ndarray) -> None:
    with h5py.File(path, "w") as file:
        file["/entry/data/data"] = frames


@pytest.mark.parametrize(
    ("frame", "status", "flags"),
    [
        (np.full((1, 65, 65), np.nan, np.float32), "flagged", "non_finite"),
        (np.zeros((1, 65, 65), np.float32), "flagged", "empty"),
        (np.ones((1, 60, 65), np.float32), "flagged", "wrong_shape"),
        (np.minimum(RAMP * 200, 65535).astype(np.uint16), "classified", "saturated"),
        (RAMP - 100, "classified", "negative"),
        (np.full((1, 65, 65), b"x"), "flagged", "wrong_shape"),
        (None, "deferred", ""),  # it may come yet
    ],
    ids=["not finite", "all zero", "wrong shape", "saturated", "negative", "text", "missing"],
)
def test_bad_frames(
    run_engine, make_live, make_detector, documents, frame, status, flags, monkeypatch
) -> None:
    """Spoil the second of three frames between its exposure and its event."""
    run_engine.subscribe(make_live())
    det = make_detector()

    def spoil():
        (path,) = [p for p in Path(det.data_directory).rglob("*.h5") if p not in seen]
        path.unlink() if frame is None else _overwrite(path, frame)
        yield from bps.null()

    seen: set[Path] = set()

    def plan():
        yield from bps.open_run()
        for number in range(3):
            yield from bps.trigger(det, wait=True)
            if number == 1:
                yield from spoil()
            seen.update(Path(det.data_directory).rglob("*.h5"))
            yield from bps.create()
            yield from bps.read(det)
            yield from bps.save()
        yield from bps.close_run()

    run_engine(bpp.stage_wrapper(plan(), [det]))
    rows = documents.rows()
    assert [row["status"] for row in rows] == ["classified", status, "classified"]
    assert rows[1]["flags"] == flags
    assert rows[1]["disk_number"] == (7 if status == "classified" else 0)
    (summary,) = documents.frame_counts()
    assert summary["frames"] == 3
    if flags == "wrong_shape":
        reason = summary["problems"][0]["reason"]
        assert f"of the shape {frame.shape[1:]} came" in reason and "(65, 65) were described" in reason


def test_a_classifier_that_raises_does_not_stop_the_scan(
    run_engine, make_live, make_detector, documents, engine, caplog
) -> None:
    engine.error = RuntimeError("out of memory")
    run_engine.subscribe(make_live())
    with caplog.at_level(logging.CRITICAL):
        result = run_engine(bp.count([make_detector()], 4))
    assert result.exit_status == "success"
    assert [row["status"] for row in documents.rows()] == ["deferred"] * 4
    (summary,) = documents.frame_counts()
    assert summary["problems"] == [{"reason": "RuntimeError: out of memory", "frames": 4}]


def test_one_frame_that_fails_does_not_cost_the_others(
    run_engine, make_live, make_detector, documents, engine, caplog
) -> None:
    answer = engine.run
    calls = []

    def fail_on_more_than_two(inputs):
        calls.append(len(inputs))
        if len(inputs) > 2:
            raise MemoryError("no room for so many")
        return answer(inputs)

    engine.run = fail_on_more_than_two
    run_engine.subscribe(make_live())
    with caplog.at_level(logging.CRITICAL):
        run_engine(bp.count([make_detector(frames_per_trigger=8)], 1))
    assert [row["status"] for row in documents.rows()] == ["classified"] * 8
    assert sorted(row["frame_index"] for row in documents.rows()) == list(range(8))


def test_a_classifier_that_hangs_defers_at_the_end(
    run_engine, make_live, make_detector, documents, engine
) -> None:
    engine.may_answer.clear()
    run_engine.subscribe(make_live(drain_timeout=0.5))
    started = time.monotonic()
    run_engine(bp.count([make_detector()], 3))
    assert time.monotonic() - started < 10
    assert [row["status"] for row in documents.rows()] == ["deferred"] * 3
    engine.may_answer.set()
    time.sleep(0.3)
    assert len(documents.rows()) == 3, "a label that comes after the run was closed must not be added to it"
    run_engine(bp.count([make_detector()], 1))
    assert documents.rows()[-1]["status"] == "classified", "the next run must not suffer"


def test_a_bound_of_pending_bytes_defers(run_engine, make_live, make_detector, documents, engine) -> None:
    engine.may_answer.clear()
    run_engine.subscribe(make_live(pending_bytes=65 * 65 * 4 * 3, batch=1))
    threading.Timer(1.5, engine.may_answer.set).start()
    run_engine(classify_count([make_detector()], 8, when_full="defer"))
    (summary,) = documents.frame_counts()
    assert summary["deferred"] == 5 and summary["classified"] == 3
    assert (summary["when_full"], summary["pending_bytes"]) == ("defer", 65 * 65 * 4 * 3)
    assert "pending_bytes" in summary["problems"][0]["reason"]


def test_a_bound_of_pending_bytes_slows_the_scan(
    run_engine, make_live, make_detector, documents, engine
) -> None:
    engine.delay = 0.05
    run_engine.subscribe(make_live(pending_bytes=65 * 65 * 4, batch=1))
    started = time.monotonic()
    run_engine(classify_count([make_detector()], 6))
    assert time.monotonic() - started > 6 * engine.delay
    assert documents.frame_counts()[0]["classified"] == 6
    assert documents.frame_counts()[0]["when_full"] == "wait"  # by the settings, not by the plan
    assert max(engine.batches) == 1


def test_frames_wait_for_a_classifier_that_loads(
    run_engine, make_detector, documents, engine, make_live
) -> None:
    loaded = make_live().classifier
    future: Future[Classifier] = Future()
    live = LiveClassifier(future)
    live.subscribe(documents)
    run_engine.subscribe(live)
    threading.Timer(0.5, future.set_result, [loaded]).start()
    run_engine(bp.count([make_detector()], 2))
    assert [row["status"] for row in documents.rows()] == ["classified"] * 2
    live.close()


def test_a_classifier_that_cannot_be_loaded_defers(run_engine, make_detector, documents) -> None:
    future: Future[Classifier] = Future()
    future.set_exception(ValueError("no such file"))
    live = LiveClassifier(future)
    live.subscribe(documents)
    run_engine.subscribe(live)
    run_engine(bp.count([make_detector()], 2))
    (summary,) = documents.frame_counts()
    assert summary["deferred"] == 2 and summary["model"] == "unavailable"
    assert "no such file" in summary["problems"][0]["reason"]
    live.close()


def test_a_display_that_fails_is_logged_once(run_engine, make_live, make_detector, documents, caplog) -> None:
    live = make_live()
    live.subscribe(lambda name, doc: 1 / 0)
    run_engine.subscribe(live)
    run_engine(bp.count([make_detector()], 3))
    assert len([r for r in caplog.records if "the scan goes on" in r.getMessage()]) == 1
    assert len(documents.rows()) == 3


def test_a_saver_that_fails_stops_the_scan(run_engine, make_live, make_detector, caplog) -> None:
    live = make_live()

    def full_disk(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            raise OSError("no space left on device")

    live.subscribe(full_disk, saves=True)
    run_engine.subscribe(live)
    with pytest.raises(RuntimeError, match="can't be saved"):
        run_engine(bp.count([make_detector()], 100, delay=0.02))


def test_a_saver_is_flushed_before_the_run_ends(run_engine, make_live, make_detector) -> None:
    class Saver:
        def __init__(self) -> None:
            self.waiting = 0

        def __call__(self, name: str, doc: dict[str, Any]) -> None:
            self.waiting += 1

        def flush(self) -> None:
            self.waiting = 0

    live, saver = make_live(), Saver()
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)
    run_engine(bp.count([make_detector()], 3))
    assert saver.waiting == 0


@pytest.mark.parametrize("ending", ["stop", "abort", "halt"])
def test_an_interrupted_run_balances(run_engine, make_live, make_detector, documents, ending) -> None:
    run_engine.subscribe(make_live())
    det = make_detector()

    def plan():
        yield from bps.open_run()
        for _ in range(3):
            yield from bps.trigger_and_read([det])
        yield from bps.pause()
        yield from bps.close_run()

    from bluesky.utils import RunEngineInterrupted

    with pytest.raises(RunEngineInterrupted):
        run_engine(bpp.stage_wrapper(plan(), [det]))
    getattr(run_engine, ending)()
    (summary,) = documents.frame_counts()
    assert summary["classified"] == 3


def test_a_rewind_gives_every_frame_a_row(run_engine, make_live, make_detector, documents) -> None:
    """A pause between save and checkpoint repeats a sequence number; the frame index still counts."""
    from bluesky.utils import RunEngineInterrupted

    run_engine.subscribe(make_live())
    det = make_detector()
    paused: list[bool] = []

    def plan():
        yield from bps.open_run()
        for number in range(3):
            yield from bps.checkpoint()
            yield from bps.trigger_and_read([det])
            if number == 1 and not paused:
                paused.append(True)
                yield from bps.pause()
        yield from bps.close_run()

    with pytest.raises(RunEngineInterrupted):
        run_engine(bpp.stage_wrapper(plan(), [det]))
    run_engine.resume()
    rows = documents.rows()
    events = len(documents.of("event")) - len(rows)
    assert len(rows) == events
    assert [row["frame_index"] for row in rows] == list(range(events))
    assert documents.frame_counts()[0]["frames"] == events


def test_ctrl_c_in_a_scan(run_engine, make_live, make_detector, documents) -> None:
    """RequestStop is what the RunEngine makes of a Ctrl-C followed by RE.stop()."""
    run_engine.subscribe(make_live())
    det = make_detector()

    def plan():
        yield from bps.open_run()
        yield from bps.trigger_and_read([det])
        raise RequestStop

    run_engine(bpp.finalize_wrapper(bpp.stage_wrapper(plan(), [det]), bps.null()))
    assert documents.frame_counts()[0]["classified"] == 1


def test_a_document_that_makes_no_sense_does_not_cost_the_scan(
    run_engine: Any,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., SpeckleDetector],
    documents: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    find = FrameFinder.__call__

    def fail_once(self: FrameFinder, name: str, doc: Any) -> Any:
        if name == "event" and doc["seq_num"] == 2:
            raise TypeError("a strange document")
        return find(self, name, doc)

    monkeypatch.setattr(FrameFinder, "__call__", fail_once)
    run_engine.subscribe(make_live())
    run_engine(bp.count([make_detector()], 3))
    assert [row["frame_index"] for row in documents.rows()] == [0, 1]
    assert "stored, but not classified" in caplog.text


def test_scans_go_on_when_saving_works_again(
    run_engine: Any,
    make_live: Callable[..., LiveClassifier],
    make_detector: Callable[..., SpeckleDetector],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A run that was lost, and ended long after that was told, does not fail those after it."""

    class Writer:
        works = False

        def __call__(self, name: str, doc: Any) -> None:
            if not self.works:
                raise ValueError("no Tiled")

        def flush(self) -> None:
            pass

    journals = tmp_path / "journals"
    journals.touch()  # no folder: no journal can be made
    saver = RunSaver(None, journals)
    monkeypatch.setattr(saver, "_new_writer", Writer)
    live = make_live()
    live.subscribe(saver, saves=True)
    run_engine.subscribe(live)
    det = make_detector()
    plan = bpp.finalize_wrapper(bp.count([det], 20, delay=0.05), bps.sleep(0.7))
    with pytest.raises(RuntimeError, match="can't be saved"):
        run_engine(plan)
    Writer.works = True
    for _ in range(3):
        run_engine(bp.count([det], 2))
    assert not saver.open_runs
    assert len(saver.failures) == 1


def test_frames_outside_of_the_served_folder(
    run_engine, make_live, make_detector, documents, tmp_path, caplog
) -> None:
    """They are classified, but nobody could read them again: the log and the summary say so at once."""
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    run_engine.subscribe(make_live(served_folders=[tmp_path / "data", tmp_path / "more"]))
    elsewhere = make_detector(data_directory=tmp_path / "elsewhere")
    inside = make_detector(data_directory=tmp_path / "link" / "below")
    run_engine(bp.count([inside], 2))
    run_engine(bp.count([make_detector(data_directory=tmp_path / "more")], 2))
    assert not any("problems" in counts for counts in documents.frame_counts())
    run_engine(bp.count([elsewhere], 2))
    counts = documents.frame_counts()[-1]
    (problem,) = counts["problems"]
    assert problem["frames"] == 2 and counts["classified"] == 2
    served = f"{tmp_path}/data, {tmp_path}/more"
    assert f"are in {tmp_path}/elsewhere, and the Tiled server reads {served} only" in problem["reason"]
    assert caplog.text.count("Let the detector write into that folder") == 1


@pytest.mark.parametrize("shape", [(64, 64, 3), (31, 64)])
def test_images_that_are_no_frames_have_a_reason(make_live, documents, shape) -> None:
    live, run = make_live(), event_model.compose_run()
    data_key = {"dtype": "array", "dtype_numpy": "<f8", "shape": list(shape), "source": "test"}
    stream = run.compose_descriptor(
        name="primary",
        data_keys={"det": data_key},
        hints={},
        configuration={},
        object_keys={"det": ["det"]},
    )
    live("start", run.start_doc)
    live("descriptor", stream.descriptor_doc)
    event = stream.compose_event(data={"det": np.ones(shape).tolist()}, timestamps={"det": 1.0})
    live("event", event)
    live("stop", run.compose_stop())
    (summary,) = documents.frame_counts()
    assert summary["frames"] == 0
    assert "the shape" in summary["left_out"]["det"]


def test_labels_out_of_distribution_are_counted_apart() -> None:
    """So that searches by label do not find a detector's ramp."""
    data_key = {"dtype": "array", "shape": [40, 50], "source": "test"}
    descriptor = {"data_keys": {"det": data_key}}
    detector = describe_detector("det", descriptor, FrameSettings())
    results = RunResults({"uid": "u"}, lambda name, doc: None, FrameSettings())
    classifier = Classifier(Bundle("fake", "0", CLASSES, Preprocessing(crop=33), {}), FakeEngine())
    for index, flags in enumerate([(), (Flag.OUT_OF_DISTRIBUTION,), (Flag.NEGATIVE,)]):
        reference = FrameReference(detector, index, index + 1, 1.0)
        results.expect(reference)
        probabilities = np.ones(len(CLASSES), np.float32)
        result = FrameResult(Status.CLASSIFIED, probabilities, 7, 1.0, flags=flags)
        results.close_frame(reference, result, classifier)
    summary = results.stop({"uid": "s", "run_start": "u"})["classification"]
    assert summary["labels"] == [7] and summary["counts"] == {"7": 2} and summary["odd_counts"] == {"7": 1}
    assert summary["classified"] == 3 and summary["flags"] == {"out_of_distribution": 1, "negative": 1}
