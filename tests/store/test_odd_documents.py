"""Documents that are valid but rare: they are saved, or the scan does not start."""

from __future__ import annotations

import datetime
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import MsgGenerator
from ophyd import Signal

from speckle_plugin.store import RunSaver, TiledStore
from speckle_plugin.store.write.journal import read_journal
from tests.testing import documents_of

FRAMES = np.arange(9 * 40 * 50, dtype=np.uint16).reshape(9, 40, 50)


@pytest.fixture
def saver(store: TiledStore) -> Iterator[RunSaver]:
    saver = RunSaver(store.runs, store.journal_directory)
    yield saver
    saver.close()


@pytest.fixture
def measure_signals(run_engine: RunEngine, store: TiledStore, saver: RunSaver) -> Callable[..., Any]:
    """Read signals at points where each gets its next value; gives the stored rows."""

    def measure(**values: list[Any]) -> Any:
        signals = [Signal(name=name, value=series[0]) for name, series in values.items()]

        def plan() -> MsgGenerator[None]:
            yield from bps.open_run()
            for number in range(max(map(len, values.values()))):
                for signal, series in zip(signals, values.values(), strict=True):
                    yield from bps.mv(signal, series[number])
                yield from bps.trigger_and_read(signals)
                saver.flush()
            yield from bps.close_run()

        token = run_engine.subscribe(saver)
        run_engine(plan())
        run_engine.unsubscribe(token)
        assert not saver.failures
        return store.runs.values().last()["primary/internal"].read()

    return measure


def test_an_integer_first_and_a_number_later(measure_signals: Any) -> None:
    assert list(measure_signals(ring=[0, 20.5, 3])["ring"]) == [0.0, 20.5, 3.0]


@pytest.mark.parametrize("large", [2**53 + 1, 2**63 - 1, -(2**63)])
def test_large_integers_stay_exact(measure_signals: Any, large: int) -> None:
    assert list(measure_signals(count=[large, 3])["count"]) == [large, 3]


def test_larger_integers_are_numbers(measure_signals: Any) -> None:
    assert list(measure_signals(count=[2**64, 3])["count"]) == [2.0**64, 3.0]


def test_names_that_differ_by_case_only(measure_signals: Any) -> None:
    table = measure_signals(det_x=[1.0, 2.0], det_X=[3.0, 4.0], DET_X=[5.0, 6.0])
    assert list(table["det_x"]) == [1.0, 2.0]
    assert list(table["det_X_2"]) == [3.0, 4.0]
    assert list(table["DET_X_3"]) == [5.0, 6.0]


WHEN = datetime.datetime(2026, 11, 25, 12, 30)
METADATA = {
    "when": WHEN,
    "path": Path("/data/x"),
    "names": {"b", "a"},
    "raw": b"abc",
    "binary": b"\xff\x00",
    "large": 2**64,
    "infinite": [float("inf"), -float("inf")],
    "nested": {"array": np.arange(2), "path": [Path("y")]},
    "motors": None,
}
PLAIN = {
    "when": "2026-11-25T12:30:00",
    "path": "/data/x",
    "names": ["a", "b"],
    "raw": "abc",
    "binary": "/wA=",
    "large": str(2**64),
    "infinite": ["inf", "-inf"],
    "nested": {"array": [0, 1], "path": ["y"]},
    "motors": None,
}


def test_metadata_of_any_kind(run_engine: RunEngine, store: TiledStore, saver: RunSaver) -> None:
    journals: list[Any] = []

    def look(name: str, doc: dict[str, Any]) -> None:
        if name == "event":
            (path,) = store.journal_directory.glob("*.jsonl")
            journals.append(read_journal(path))

    run_engine.subscribe(saver)
    run_engine.subscribe(look)
    run_engine(bp.count([Signal(name="ring", value=1.0)], 1, md=METADATA))
    assert not saver.failures
    run = store.runs.values().last()
    assert {key: run.start[key] for key in PLAIN} == PLAIN
    (journal,) = journals
    assert [name for name, _ in journal] == ["start", "descriptor", "event"]
    assert {key: journal[0][1][key] for key in PLAIN} == PLAIN


class Documents:
    """A run of frames in one file, by classic documents or streams, as a test orders them."""

    def __init__(
        self, store: TiledStore, take: Callable[[str, Any], None], shape: Any, **resource: Any
    ) -> None:
        self._take, self._shape, self._seq_nums = take, shape, dict[str, int]()
        self.uid, self._resource, self._descriptors = str(uuid.uuid4()), str(uuid.uuid4()), dict[str, str]()
        path = store.frames_directory / f"{self.uid}.h5"
        with h5py.File(path, "w") as file:
            file["/entry/data/data"] = FRAMES
        take("start", {"uid": self.uid, "time": time.time()})
        self._location = {"root": "/", "resource_path": str(path)[1:], "spec": "AD_HDF5"}
        self._parameters, self._uri = resource, path.as_uri()

    def describe(self, stream: str = "primary", external: str = "FILESTORE:") -> None:
        data_key = {"dtype": "array", "dtype_numpy": "<u2", "shape": self._shape, "source": "x"}
        self._descriptors[stream] = str(uuid.uuid4())
        self._take(
            "descriptor",
            {
                "uid": self._descriptors[stream],
                "run_start": self.uid,
                "time": time.time(),
                "name": stream,
                "data_keys": {"det": {**data_key, **({"external": external} if external else {})}},
                "object_keys": {"det": ["det"]},
                "configuration": {},
                "hints": {},
            },
        )

    def resource(self) -> None:
        resource = {"uid": self._resource, "run_start": self.uid, "path_semantics": "posix", **self._location}
        self._take("resource", {**resource, "resource_kwargs": self._parameters})

    def datum(self, number: int) -> None:
        datum = {"datum_id": f"{self._resource}/{number}", "resource": self._resource}
        self._take("datum", {**datum, "datum_kwargs": {"point_number": number}})

    def event(self, value: Any, stream: str = "primary") -> None:
        self._seq_nums[stream] = self._seq_nums.get(stream, 0) + 1
        value = f"{self._resource}/{value}" if isinstance(value, int) else value
        event = {"uid": str(uuid.uuid4()), "time": time.time(), "seq_num": self._seq_nums[stream]}
        event |= {"descriptor": self._descriptors[stream], "data": {"det": value}, "timestamps": {"det": 1.0}}
        self._take("event", {**event, "filled": {"det": False} if isinstance(value, str) else {}})

    def frames(self, events: int) -> None:
        self._take(
            "stream_resource",
            {
                "uid": self._resource,
                "data_key": "det",
                "mimetype": "application/x-hdf5",
                "uri": self._uri,
                "run_start": self.uid,
                "parameters": {"dataset": "/entry/data/data", **self._parameters},
            },
        )
        self._take(
            "stream_datum",
            {
                "uid": f"{self._resource}/0",
                "stream_resource": self._resource,
                "descriptor": self._descriptors["primary"],
                "indices": {"start": 0, "stop": events},
                "seq_nums": {"start": 1, "stop": events + 1},
            },
        )

    def stop(self) -> None:
        stop = {
            "uid": str(uuid.uuid4()),
            "run_start": self.uid,
            "time": time.time(),
            "exit_status": "success",
        }
        self._take("stop", {**stop, "num_events": dict(self._seq_nums)})


def stored(store: TiledStore, saver: RunSaver, documents: Documents) -> Any:
    assert not saver.failures
    return store.runs[documents.uid]


@pytest.mark.parametrize("shape", [[1, 40, 50], [40, 50], [1, 1, 40, 50]])
def test_frames_beyond_those_that_documents_name(
    store: TiledStore, saver: RunSaver, shape: list[int]
) -> None:
    """As during a flight, or after an abort: the file holds nine frames, and the documents name three."""
    documents = Documents(store, saver, shape)
    documents.describe(external="STREAM:")
    documents.frames(3)
    documents.stop()
    array = stored(store, saver, documents)["primary/det"]
    assert array.shape == (3, *shape)
    np.testing.assert_array_equal(array.read().reshape(3, 40, 50), FRAMES[:3])
    np.testing.assert_array_equal(array[1].reshape(40, 50), FRAMES[1])


@pytest.mark.parametrize("shape", [[40, 50], [1, 40, 50], [3, 40, 50], [0, 40, 50]])
def test_several_frames_of_a_point(store: TiledStore, saver: RunSaver, shape: list[int]) -> None:
    documents = Documents(store, saver, shape, frame_per_point=3)
    documents.describe()
    documents.resource()
    for point in range(3):
        documents.datum(point)
        documents.event(point)
    documents.stop()
    array = stored(store, saver, documents)["primary/det"]
    np.testing.assert_array_equal(array.read().reshape(9, 40, 50), FRAMES)


def test_a_datum_that_events_of_two_streams_name(store: TiledStore, saver: RunSaver) -> None:
    documents = Documents(store, saver, [1, 40, 50])
    for stream in ("primary", "again"):
        documents.describe(stream)
    documents.resource()
    for point in range(2):
        documents.datum(point)
        for stream in ("primary", "again"):
            documents.event(point, stream)
    documents.stop()
    run = stored(store, saver, documents)
    for stream in ("primary", "again"):
        np.testing.assert_array_equal(run[f"{stream}/det"].read().reshape(2, 40, 50), FRAMES[:2])


def test_a_datum_that_two_events_of_a_stream_name(store: TiledStore, saver: RunSaver) -> None:
    """They name the same frame, which is stored once; both events are."""
    documents = Documents(store, saver, [1, 40, 50])
    documents.describe()
    documents.resource()
    for point in range(2):
        documents.datum(point)
        documents.event(point)
        documents.event(point)
        saver.flush()
    documents.stop()
    run = stored(store, saver, documents)
    np.testing.assert_array_equal(run["primary/det"].read().reshape(2, 40, 50), FRAMES[:2])
    assert list(run["primary/internal"].read()["seq_num"]) == [1, 2, 3, 4]


def test_a_datum_after_its_event(store: TiledStore, saver: RunSaver) -> None:
    documents = Documents(store, saver, [1, 40, 50])
    documents.describe()
    documents.resource()
    for point in range(2):
        documents.event(point)
    for point in range(2):
        documents.datum(point)
    documents.stop()
    run = stored(store, saver, documents)
    np.testing.assert_array_equal(run["primary/det"].read().reshape(2, 40, 50), FRAMES[:2])


@pytest.mark.parametrize(
    ("shape", "value"),
    [([0, 40, 50], []), ([2, 2, 0], [[[], []], [[], []]]), ([40, 50, 3], np.ones((40, 50, 3)))],
)
def test_arrays_of_odd_shapes_in_events(
    store: TiledStore, saver: RunSaver, shape: list[int], value: Any
) -> None:
    documents = Documents(store, saver, shape)
    documents.describe(external="")
    documents.event(np.asarray(value).tolist())
    documents.stop()
    run = stored(store, saver, documents)
    assert list(run["primary/internal"].read()["seq_num"]) == [1]
    if 0 not in shape:
        np.testing.assert_array_equal(run["primary/det"].read()[0], value)


@pytest.mark.parametrize("at", [0, 2])
@pytest.mark.parametrize(
    "change",
    [
        {"seq_num": "two"},
        {"timestamps": None},
        {"data": None},
        {"data": {"y": 1.0}, "timestamps": {"y": 1.0}},
    ],
)
def test_an_event_that_is_malformed(
    store: TiledStore, saver: RunSaver, at: int, change: dict[str, Any]
) -> None:
    """The first of a stream is held against its schema, a later one fails in the writer: both are told."""
    uid, events = str(uuid.uuid4()), 0
    for name, doc in documents_of(uid, [1, 2, 3]):
        if name == "event":
            if events == at:
                doc |= change
            events += 1
        saver(name, doc)
        saver.flush()
    assert f"the run {uid} could not be saved in Tiled" in saver.failures[uid]
    journal = store.journal_directory / f"{uid}.jsonl"
    assert [name for name, _ in read_journal(journal)].count("event") == 3
    journal.unlink()  # the store is shared with other tests


@pytest.mark.parametrize("streamed", [True, False])
def test_frames_of_no_stated_shape_do_not_cost_the_run(
    store: TiledStore, saver: RunSaver, caplog: pytest.LogCaptureFixture, streamed: bool
) -> None:
    uid = str(uuid.uuid4())
    resource = {
        "uid": f"sr-{uid}",
        "data_key": "det_image",
        "mimetype": "application/x-hdf5",
        "parameters": {},
    }
    for name, doc in documents_of(uid, [1, 2], store.frames_directory):
        if name == "descriptor":
            doc["data_keys"]["det_image"]["shape"] = [None, None]
        if streamed and name in ("resource", "datum"):
            continue
        if streamed and name == "event":
            del doc["data"]["det_image"], doc["timestamps"]["det_image"], doc["filled"]["det_image"]
        saver(name, doc)
        if streamed and name == "descriptor":
            saver("stream_resource", {**resource, "run_start": uid, "uri": "file://localhost/nowhere.h5"})
            datum = {
                "uid": f"{resource['uid']}/0",
                "stream_resource": resource["uid"],
                "descriptor": doc["uid"],
            }
            ranges = {"indices": {"start": 0, "stop": 2}, "seq_nums": {"start": 1, "stop": 3}}
            saver("stream_datum", datum | ranges)
    assert not saver.failures
    run = store.runs[uid]
    assert list(run["primary/internal"].read()["x"]) == [0, 1]
    assert run.metadata["stop"]["exit_status"] == "success"
    assert [r.message for r in caplog.records if "det_image are not saved in Tiled" in r.message] != []
