"""Frames that were left without a label are finished later, on a real Tiled server and real files."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import SpeckleDetector
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier, PipelineSettings
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.network.engines import NetworkOutput
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.reprocess import Completion, CompletionError, complete_run, complete_runs
from speckle_plugin.reprocess.consistency import check_masks
from speckle_plugin.store import RunSaver, TiledStore, find_frames, find_runs
from speckle_plugin.store.read.results import free_stream, read_results
from speckle_plugin.store.write.recovery import recovered_stop
from speckle_plugin.store.write.run_writer import ResultStreamWriter
from tests.testing import CLASSES, FakeEngine

SIZE = 65


def classifier(label: int = 7, fails_after: float = np.inf, name: str = "first", **bundle: Any) -> Classifier:
    settings = {"classes": CLASSES, "preprocessing": Preprocessing(crop=33), "weights": {}, **bundle}
    return Classifier(
        Bundle(name, "1", sha256=name.ljust(64, "0"), **settings), FakeEngine(label, fails_after)
    )


@pytest.fixture
def make_detector(
    store: TiledStore, make_detector: Callable[..., SpeckleDetector]
) -> Callable[..., SpeckleDetector]:
    return functools.partial(make_detector, data_directory=store.frames_directory)


@pytest.fixture
def measure(
    store: TiledStore, run_engine: RunEngine, make_detector: Callable[..., SpeckleDetector]
) -> Callable[..., Any]:
    """Give a function that measures some events, and gives the stored run."""

    def scan(
        live_classifier: Classifier,
        detectors: Sequence[SpeckleDetector] = (),
        events: int = 5,
        frames: FrameSettings | None = None,
        first: Callable[[str, dict[str, Any]], None] | None = None,
        plan: Callable[..., Any] = bp.count,
    ) -> Any:
        live = LiveClassifier(live_classifier, frames, PipelineSettings(batch=1))
        saver = RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        tokens = [] if first is None else [run_engine.subscribe(first)]
        tokens.append(run_engine.subscribe(live))
        result: Any = run_engine(plan(list(detectors) or [make_detector()], events))
        for token in tokens:
            run_engine.unsubscribe(token)
        live.close()
        saver.close()
        assert not saver.failures
        return store.runs[result.run_start_uids[0]]

    return scan


def rows_of(run: Any, stream: str | None = None) -> list[tuple[str, int, int, str, int]]:
    table = find_frames(run, stream=stream)
    columns = ("image_key", "frame_index", "primary_seq_num", "status", "disk_number")
    return sorted(zip(*(table[name] for name in columns), strict=True))


def check_frame_counts(store: TiledStore, uid: str, stream: str) -> dict[str, Any]:
    """See that rows, summary and number of events agree; give the summary."""
    run = store.runs[uid]
    summary = run.stop["classification"]
    rows = rows_of(run)
    assert summary["stream"] == stream
    assert summary["frames"] == len(rows) == run.stop["num_events"][stream]
    assert len({row[:2] for row in rows}) == len(rows)
    for status in ("classified", "flagged", "deferred"):
        assert summary[status] == sum(row[3] == status for row in rows)
    assert summary["labels"] == sorted({row[4] for row in rows if row[3] == "classified"})
    assert sum(summary["counts"].values()) == summary["classified"]
    return dict(summary)


def test_the_frames_left_over_get_labels(store: TiledStore, measure: Callable[..., Any]) -> None:
    run = measure(classifier(7, fails_after=2))
    uid = run.start["uid"]
    before = read_results(run, "classification")
    assert run.stop["classification"]["deferred"] == 3
    assert uid in find_runs(store.runs, deferred=True)

    # Another label, so that it shows which frames were classified now.
    progress: list[tuple[int, int]] = []
    done = complete_run(run, classifier(9), report=lambda *numbers: progress.append(numbers))
    assert done == Completion(uid, run.start["scan_id"], "classification_2", 5, classified=3)
    assert progress == [(0, 3), (3, 3)]

    run = store.runs[uid]
    assert rows_of(run) == [("det_image", i, i + 1, "classified", 7 if i < 2 else 9) for i in range(5)]
    after = read_results(run, "classification_2")
    assert after.model["weights_sha256"] == before.model["weights_sha256"]
    for index in range(2):
        assert after.rows["det_image", index] == before.rows["det_image", index]
    assert max(after.rows["det_image", 4].data["probabilities"]) == pytest.approx(
        find_frames(run, label=9)["confidence"].iloc[0]
    )
    assert after.rows["det_image", 4].data["latency"] > 0
    assert read_results(run, "classification") == before
    assert [row[3] for row in rows_of(run, "classification")] == ["classified"] * 2 + ["deferred"] * 3

    summary = check_frame_counts(store, uid, "classification_2")
    assert summary["counts"] == {"7": 2, "9": 3}
    assert run.stop["num_events"]["primary"] == run.stop["num_events"]["classification"] == 5
    assert uid not in find_runs(store.runs, deferred=True)
    for label in (7, 9):
        assert uid in find_runs(store.runs, label=label)
        assert len(find_frames(store.runs, label=label)) >= 2
    assert run.validate(raise_on_error=True)
    events = [doc for name, doc in run.documents() if name == "event"]
    assert len(events) == 15
    (revision,) = run.metadata_revisions[:]
    assert revision["attributes"]["metadata"]["stop"]["classification"]["deferred"] == 3

    again = complete_run(run, classifier(11))
    assert again == Completion(uid, run.start["scan_id"], "classification_2", 5)
    assert set(run.base) == {"primary", "classification", "classification_2"}


def test_bursts_of_two_detectors(
    store: TiledStore, measure: Callable[..., Any], make_detector: Callable[..., SpeckleDetector]
) -> None:
    detectors = [make_detector("one", frames_per_trigger=3), make_detector("two")]
    run = measure(classifier(7, fails_after=3), detectors, events=2)
    assert run.stop["classification"]["deferred"] == 5
    complete_run(run, classifier(9))
    rows = rows_of(run)
    assert [row[:3] for row in rows] == [
        *(("one_image", i, 1 + i // 3) for i in range(6)),
        *(("two_image", i, 1 + i) for i in range(2)),
    ]
    assert sorted(row[4] for row in rows) == [7] * 3 + [9] * 5
    check_frame_counts(store, run.start["uid"], "classification_2")


def test_a_camera_that_was_left_out_by_choice_stays_out(
    measure: Callable[..., Any], make_detector: Callable[..., SpeckleDetector]
) -> None:
    detectors = [make_detector("one"), make_detector("two")]
    run = measure(
        classifier(7, fails_after=1), detectors, events=2, frames=FrameSettings(image_keys=("two_image",))
    )
    assert complete_run(run, classifier(7)).frames == 2
    assert {row[0] for row in rows_of(run)} == {"two_image"}


def test_few_classes_are_stored_as_text_and_read_again(measure: Callable[..., Any]) -> None:
    """Up to 16 probabilities are in the table of rows, where Tiled gives them as text."""
    run = measure(classifier(7, fails_after=2))
    few = classifier(7, name="few")
    few.bundle = Bundle("few", "1", (2, 3, 4), Preprocessing(crop=33), {}, sha256="f" * 64)

    class ThreeClasses(FakeEngine):
        def run(self, inputs: NDArray[np.float32]) -> NetworkOutput:
            return NetworkOutput(super().run(inputs).logits[:, 4:7], np.zeros((len(inputs), 4), np.float32))

    few.engine = ThreeClasses(7)
    complete_run(run, few, everything=True)
    rows = read_results(run, "classification_2").rows
    assert {len(row.data["probabilities"]) for row in rows.values()} == {3}
    assert rows["det_image", 0].data["probabilities"][1] == pytest.approx(
        rows["det_image", 0].data["confidence"]
    )


def test_another_model_is_refused_unless_all_frames_are_classified_again(
    store: TiledStore, measure: Callable[..., Any]
) -> None:
    run = measure(classifier(7, fails_after=2))
    uid = run.start["uid"]
    with pytest.raises(CompletionError, match=r"by first 1 \(SHA-256 first0000000\), not by other 1 .*--all"):
        complete_run(run, classifier(9, name="other"))
    assert set(store.runs[uid].base) == {"primary", "classification"}
    done = complete_run(run, classifier(9, name="other"), everything=True)
    assert (done.classified, done.stream) == (5, "classification_2")
    summary = check_frame_counts(store, uid, "classification_2")
    assert summary["counts"] == {"9": 5}  # nothing is left of label 7
    assert summary["model"] == "other"
    assert uid not in find_runs(store.runs, label=7)
    assert complete_run(run, classifier(3), everything=True).stream == "classification_3"
    assert check_frame_counts(store, uid, "classification_3")["labels"] == [3]


def test_a_run_whose_network_never_loaded_takes_any(store: TiledStore, measure: Callable[..., Any]) -> None:
    from concurrent.futures import Future

    broken: Any = Future()
    broken.set_exception(RuntimeError("no such engine"))
    run = measure(broken)
    assert run.stop["classification"]["model"] == "unavailable"
    assert complete_run(run, classifier(9)).classified == 5
    assert check_frame_counts(store, run.start["uid"], "classification_2")["model"] == "first"
    (row, *_) = read_results(run, "classification_2").rows.values()
    assert len(row.data["probabilities"]) == len(CLASSES)


MASK = np.zeros((SIZE, SIZE), bool)
MASK[3, 4] = True
OTHER_MASK = ~MASK & (np.arange(SIZE) < 2)


@pytest.mark.parametrize(
    ("session", "given", "message"),
    [
        (MASK, None, "with a mask .* and none is given: give that mask"),
        (MASK, OTHER_MASK, "with a mask .* and another one is given"),
        (None, MASK, "without a mask, and another one is given .*: give none"),
        (MASK, MASK, ""),
        (MASK, {"det_image": MASK}, ""),
        (None, {"other_image": MASK}, ""),
    ],
)
def test_the_mask_must_be_that_of_the_session(
    measure: Callable[..., Any], session: Any, given: Any, message: str
) -> None:
    frames = FrameSettings(masks=None if session is None else {"det_image": session})
    run = measure(classifier(7, fails_after=1), events=2, frames=frames)
    if message:
        with pytest.raises(CompletionError, match=message):
            complete_run(run, classifier(7), masks=given)
        assert complete_run(run, classifier(7), masks=given, everything=True).classified == 2
    else:
        assert complete_run(run, classifier(7), masks=given).classified == 1
    recorded = read_results(run, "classification_2").model["masks"]
    mask = given if given is None or isinstance(given, np.ndarray) else given.get("det_image")
    assert any(text.startswith("det_image ") for text in recorded) == (mask is not None)


def test_the_mask_is_known_also_if_the_first_frame_was_deferred(measure: Callable[..., Any]) -> None:
    run = measure(classifier(7, fails_after=0), events=2, frames=FrameSettings(masks={"det_image": MASK}))
    with pytest.raises(CompletionError, match="give that mask"):
        complete_run(run, classifier(7))


def test_one_mask_is_for_the_cameras_that_had_one(
    measure: Callable[..., Any], make_detector: Callable[..., SpeckleDetector]
) -> None:
    detectors = [make_detector("one"), make_detector("two")]
    frames = FrameSettings(masks={"two_image": MASK})
    run = measure(classifier(7, fails_after=1), detectors, events=1, frames=frames)
    assert complete_run(run, classifier(7), masks=MASK).classified == 1
    recorded = read_results(run, "classification_2").model["masks"]
    assert [text.split()[0] for text in recorded] == ["two_image"]
    complete_run(run, classifier(7), masks=MASK, everything=True)
    recorded = read_results(run, "classification_3").model["masks"]
    assert [text.split()[0] for text in recorded] == ["one_image", "two_image"]


def test_a_mask_that_fits_no_frame_is_refused(measure: Callable[..., Any]) -> None:
    """Else all frames would be flagged, for good."""
    run = measure(classifier(7, fails_after=0), events=2)
    wrong = np.zeros((SIZE, SIZE + 1), bool)
    for everything in (False, True):
        with pytest.raises(CompletionError, match=r"the mask has the shape \(65, 66\)"):
            complete_run(run, classifier(7), masks=wrong, everything=everything)
    assert complete_run(run, classifier(7)).classified == 2


def test_results_that_do_not_tell_their_masks_are_not_mixed_with_new_ones() -> None:
    older = {"weights_sha256": "abc", "mask_hash": ""}
    with pytest.raises(CompletionError, match="older version .*--all"):
        check_masks("4f0c", older, {}, [])
    check_masks("4f0c", {}, {}, [])  # nothing was classified


class SilentDetector(SpeckleDetector):
    """Does not say where the beam is."""

    def read_configuration(self) -> Any:
        return self._without_center(super().read_configuration())

    def describe_configuration(self) -> Any:
        return self._without_center(super().describe_configuration())

    def _without_center(self, settings: Any) -> dict[str, Any]:
        return {key: value for key, value in settings.items() if key != f"{self.name}_beam_center"}


@pytest.mark.parametrize(
    ("session", "given", "message"),
    [
        ((1.0, 2.0), (3.0, 2.0), r"with the beam centre \(1.0, 2.0\), and \(3.0, 2.0\) is given"),
        (None, (3.0, 2.0), "with no beam centre"),
        ((1.0, 2.0), (1.0, 2.0), ""),
        ((1.0, 2.0), None, ""),
        (None, None, ""),
    ],
)
def test_the_beam_centre_must_be_that_of_the_session(
    measure: Callable[..., Any],
    make_detector: Callable[..., SpeckleDetector],
    session: Any,
    given: Any,
    message: str,
) -> None:
    silent = make_detector("silent", kind=SilentDetector)
    run = measure(classifier(7, fails_after=1), [silent], events=2, frames=FrameSettings(beam_center=session))
    if message:
        with pytest.raises(CompletionError, match=message):
            complete_run(run, classifier(7), beam_center=given)
        assert complete_run(run, classifier(7), beam_center=given, everything=True).classified == 2
        assert read_results(run, "classification_2").model["beam_center"] == list(given)
        return
    assert complete_run(run, classifier(7), beam_center=given).classified == 1
    results = read_results(run, "classification_2")
    assert results.model["beam_center"] == list(session or ())
    flags = {row.data["flags"] for row in results.rows.values()}
    assert flags == ({""} if session else {"assumed_center"})


class MovingDetector(SilentDetector):
    """Says where the beam is, and may be told anew."""

    center = (0.0, 0.0)

    def read_configuration(self) -> Any:
        center = {"value": list(self.center), "timestamp": 1.0}
        return {**super().read_configuration(), f"{self.name}_beam_center": center}

    def describe_configuration(self) -> Any:
        center = {"source": "test", "dtype": "array", "shape": [2]}
        return {**super().describe_configuration(), f"{self.name}_beam_center": center}

    def configure(self, settings: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        old = self.read_configuration()
        self.center = settings["center"]
        return old, self.read_configuration()


@pytest.mark.parametrize(("center", "refused"), [((0.0, 0.0), False), ((5.0, 5.0), True)])
def test_a_run_in_which_a_detector_was_configured_anew_is_refused(
    measure: Callable[..., Any], make_detector: Callable[..., SpeckleDetector], center: Any, refused: bool
) -> None:
    moving: Any = make_detector("moving", kind=MovingDetector)

    def plan(detectors: Sequence[Any], events: int) -> Any:
        for number in range(events):
            if number == 2:
                yield from bps.configure(moving, {"center": center})
            yield from bps.trigger_and_read(detectors)

    run = measure(classifier(7, fails_after=1), [moving], events=4, plan=bpp.run_decorator()(plan))
    assert run.base["primary"].metadata["_config_updates"]
    if not refused:
        assert complete_run(run, classifier(7)).classified == 3
        return
    with pytest.raises(CompletionError, match="configured anew"):
        complete_run(run, classifier(7))
    run.refresh()
    assert "classification_2" not in run.base


def test_a_centre_is_not_refused_where_detectors_state_theirs(measure: Callable[..., Any]) -> None:
    run = measure(classifier(7, fails_after=1), events=2, frames=FrameSettings(beam_center=(1.0, 2.0)))
    assert complete_run(run, classifier(7), beam_center=(3.0, 2.0)).classified == 1


def frame_file(run: Any, index: int) -> Path:
    """Give the file of an exposure."""
    source = run["primary/det_image"].include_data_sources().data_sources()[0]
    return Path(unquote(urlparse(source.assets[index].data_uri).path))


def test_flagged_frames_stay_flagged(store: TiledStore, measure: Callable[..., Any]) -> None:
    emptied: list[Path] = []

    def empty_the_first(name: str, doc: dict[str, Any]) -> None:
        if name == "resource" and not emptied:
            emptied.append(Path(doc["root"]) / doc["resource_path"])
            with h5py.File(emptied[0], "r+") as file:
                file["/entry/data/data"][...] = 0

    run = measure(classifier(7, fails_after=2), first=empty_the_first)
    assert rows_of(run)[0][3] == "flagged"
    with h5py.File(emptied[0], "r+") as file:
        file["/entry/data/data"][...] = np.random.default_rng(0).random((1, SIZE, SIZE))
    assert complete_run(run, classifier(7)).classified == 2
    assert rows_of(run)[0][3] == "flagged"
    assert check_frame_counts(store, run.start["uid"], "classification_2")["flags"] == {"empty": 1}
    assert complete_run(run, classifier(7), everything=True).classified == 5
    assert rows_of(run)[0][3] == "classified"


def test_frames_that_cannot_be_read_are_flagged_and_tried_again(
    store: TiledStore, measure: Callable[..., Any]
) -> None:
    run = measure(classifier(7, fails_after=0), events=3)
    lost = [frame_file(run, index) for index in (0, 2)]
    for path in lost:
        path.rename(path.with_suffix(".away"))
    done = complete_run(run, classifier(7))
    assert (done.classified, done.flagged, done.deferred) == (1, 2, 0)
    assert [row[3] for row in rows_of(run)] == ["flagged", "classified", "flagged"]
    summary = check_frame_counts(store, run.start["uid"], "classification_2")
    assert summary["flags"] == {"unreadable": 2}
    assert len(summary["problems"]) == 2

    assert complete_run(run, classifier(7)).stream == "classification_2"  # nothing new
    lost[1].with_suffix(".away").rename(lost[1])
    assert complete_run(run, classifier(7)).classified == 1
    assert [row[3] for row in rows_of(run)] == ["flagged", "classified", "classified"]
    check_frame_counts(store, run.start["uid"], "classification_3")


def test_a_label_is_never_replaced_by_a_flag(store: TiledStore, measure: Callable[..., Any]) -> None:
    run = measure(classifier(7), events=3)
    uid = run.start["uid"]
    before = read_results(run, "classification").rows["det_image", 1]
    lost = frame_file(run, 1)
    lost.rename(lost.with_suffix(".away"))
    fewer = (9, *range(2, 9))
    other = classifier(9, name="other", classes=fewer)
    other.engine = FakeEngine(9, classes=fewer)
    done = complete_run(run, other, everything=True)
    assert done == Completion(uid, run.start["scan_id"], "classification_2", 3, classified=2, kept=1)
    assert [row[3:] for row in rows_of(run)] == [("classified", label) for label in (9, 7, 9)]
    summary = check_frame_counts(store, uid, "classification_2")
    assert summary["model"] == "other"
    (problem,) = summary["problems"]
    assert problem == {
        "reason": "not labelled again, being unreadable: the label by first 1 (SHA-256 first0000000) is kept",
        "frames": 1,
    }
    after = read_results(run, "classification_2").rows["det_image", 1]
    # The same row; its probabilities stand where the new network has these disk numbers.
    assert {**after.data, "probabilities": 0} == {**before.data, "probabilities": 0}
    assert after.time == before.time
    told = before.data["probabilities"]
    assert after.data["probabilities"] == pytest.approx([told[CLASSES.index(n)] for n in fewer])
    lost.with_suffix(".away").rename(lost)
    assert complete_run(run, other, everything=True).classified == 3


def test_a_server_that_gives_no_frame_changes_nothing(store: TiledStore, measure: Callable[..., Any]) -> None:
    run = measure(classifier(7), events=2)
    for index in range(2):
        path = frame_file(run, index)
        path.rename(path.with_suffix(".away"))
    done = complete_run(run, classifier(9), everything=True)
    assert done == Completion(run.start["uid"], run.start["scan_id"], "classification", 2, kept=2)
    assert set(store.runs[run.start["uid"]].base) == {"primary", "classification"}


def test_a_classifier_that_fails_again_leaves_the_run_as_it_was(
    store: TiledStore, measure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("speckle_plugin.reprocess.pixels.MOST_FRAMES", 2)
    run = measure(classifier(7, fails_after=0))
    uid = run.start["uid"]
    before = dict(store.runs[uid].metadata)
    with pytest.raises(MemoryError):
        complete_run(run, classifier(9, fails_after=2))
    assert set(store.runs[uid].base) == {"primary", "classification"}
    assert store.runs[uid].metadata == before
    assert complete_run(run, classifier(9)).stream == "classification_2"
    check_frame_counts(store, uid, "classification_2")


def test_a_stream_that_was_begun_and_not_finished_is_passed_by(
    store: TiledStore, measure: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = measure(classifier(7, fails_after=2))
    uid = run.start["uid"]
    before = dict(store.runs[uid].metadata), rows_of(run)

    def die(self: Any, stop: Any) -> None:
        self._writer.flush()
        raise OSError("the machine is gone")

    with monkeypatch.context() as patch:
        patch.setattr(ResultStreamWriter, "publish", die)
        with pytest.raises(OSError, match="the machine is gone"):
            complete_run(run, classifier(9))
    assert "classification_2" in store.runs[uid].base
    assert (dict(store.runs[uid].metadata), rows_of(store.runs[uid])) == before
    assert uid in find_runs(store.runs, deferred=True)
    assert free_stream(run) == "classification_3"
    assert complete_run(run, classifier(9)).stream == "classification_3"
    check_frame_counts(store, uid, "classification_3")
    assert uid not in find_runs(store.runs, deferred=True)


def test_a_run_that_fails_does_not_stop_the_others(store: TiledStore, measure: Callable[..., Any]) -> None:
    by_other = measure(classifier(7, fails_after=1, name="other"), events=2)
    fine = measure(classifier(7, fails_after=1), events=2)
    crashing = measure(classifier(7, fails_after=1), events=2)
    runs = [by_other, crashing, fine]

    def classifier_of(run: Any) -> Classifier:
        return classifier(7, fails_after=0 if run is crashing else np.inf)

    seen: list[tuple[str, int, int]] = []
    outcomes = list(
        complete_runs(runs, classifier_of, report=lambda run, *n: seen.append((run.start["uid"], *n)))
    )
    assert [(o.run_uid, o.deferred, o.frames) for o in outcomes] == [
        (by_other.start["uid"], 1, 2),
        (crashing.start["uid"], 1, 2),
        (fine.start["uid"], 0, 2),
    ]
    assert [bool(o.error) for o in outcomes] == [True, True, False]
    assert "no memory for the network" in outcomes[1].error
    assert seen[-1] == (fine.start["uid"], 1, 1)
    for run in (by_other, crashing):
        complete_run(run, classifier(7), everything=True)


def test_a_run_that_was_killed_before_its_first_result_counts_as_deferred() -> None:
    image = {"dtype": "array", "shape": [3, SIZE, SIZE], "external": "FILESTORE:", "source": "test"}
    other = {"dtype": "array", "shape": [4, 9], "external": "FILESTORE:", "source": "test"}
    keys = {"det_image": image, "spectra": other}
    documents: list[Any] = [
        ("start", {"uid": "run-1", "time": 1.0}),
        ("descriptor", {"uid": "d", "run_start": "run-1", "name": "primary", "time": 1.0, "data_keys": keys}),
    ]
    for seq_num in (1, 2):
        data = dict.fromkeys(keys, "datum")
        documents.append(("event", {"descriptor": "d", "seq_num": seq_num, "time": 2.0, "data": data}))
    summary = recovered_stop(documents)["classification"]
    assert (summary["frames"], summary["deferred"]) == (6, 6)


def test_a_run_without_frames_or_end_is_refused(
    store: TiledStore, run_engine: RunEngine, make_detector: Callable[..., SpeckleDetector]
) -> None:
    from ophyd.sim import SynAxis

    saver = RunSaver(store.runs, store.journal_directory)
    token = run_engine.subscribe(saver)
    motor: Any = SynAxis(name="motor")
    result: Any = run_engine(bp.count([motor], 2))
    uid = result.run_start_uids[0]
    with pytest.raises(CompletionError, match="holds no frames"):
        complete_run(store.runs[uid], classifier(7))

    refused = []

    def complete_now(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            with pytest.raises(CompletionError, match="is not finished"):
                complete_run(store.runs.values().last(), classifier(7))
            refused.append(doc)

    other = run_engine.subscribe(complete_now)
    result = run_engine(bp.count([make_detector()], 1))
    for each in (token, other):
        run_engine.unsubscribe(each)
    assert len(refused) == 1
    # It was measured without the live classifier: all of its frames have yet to be classified.
    run = store.runs[result.run_start_uids[0]]
    assert complete_run(run, classifier(7)).stream == "classification"
    check_frame_counts(store, run.start["uid"], "classification")


def test_settings_that_make_no_sense_do_not_cost_the_run(measure: Callable[..., Any]) -> None:
    frames: Any = FrameSettings(beam_center=np.array([1.0, 2.0]), masks={"det_image": None})  # type: ignore
    run = measure(classifier(7), events=2, frames=frames)
    assert run.stop["classification"]["classified"] == 2
    model = read_results(run, "classification").model
    assert (model["beam_center"], model["masks"]) == ([1.0, 2.0], [])
    nonsense: Any = FrameSettings(beam_center="middle", masks={"det_image": [[1, 2], [3]]})  # type: ignore
    run = measure(classifier(7), events=2, frames=nonsense)
    assert run.stop["classification"]["flagged"] == 2
