"""One table of layouts of stored runs, and that all who read runs see the same frames in them."""

from __future__ import annotations

import csv
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import bluesky.plans as bp
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray

from simulated_devices import FlySpeckleDetector
from speckle_plugin.cli.stored_frame import read_stored_frame
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.live import LiveClassifier, PipelineSettings
from speckle_plugin.network import Bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.plans import classify_fly
from speckle_plugin.preprocessing import Preprocessing
from speckle_plugin.reprocess import complete_run
from speckle_plugin.reprocess.task import find_task
from speckle_plugin.store import RunSaver, StoredRun, TiledStore, find_frames, frames_to_xarray, read_frames
from tests.testing import CLASSES, FakeEngine, good
from training.stored_frames import frames_of_labels

ROWS, COLUMNS = 40, 33


def sevens(**bundle: Any) -> Classifier:
    settings = {"classes": CLASSES, "preprocessing": Preprocessing(crop=33), "weights": {}, **bundle}
    return Classifier(Bundle("sevens", "1", sha256="7" * 64, **settings), FakeEngine())


@pytest.fixture
def live(store: TiledStore) -> Iterator[LiveClassifier]:
    """The live classifier, saving into the store."""
    pipeline = LiveClassifier(sevens(), FrameSettings(beam_center=(0.0, 0.0)), PipelineSettings(batch=1))
    saver = RunSaver(store.runs, store.journal_directory)
    pipeline.subscribe(saver, saves=True)
    yield pipeline
    pipeline.close()
    saver.close()
    assert not saver.failures


@dataclass
class Bench:
    """What a layout is measured with."""

    store: TiledStore
    engine: RunEngine
    live: LiveClassifier
    make_detector: Callable[..., Any]

    def detector(self, name: str = "det", **settings: Any) -> Any:
        return self.make_detector(name, data_directory=self.store.frames_directory, **settings)

    def measure(self, plan: Any) -> Any:
        token = self.engine.subscribe(self.live)
        result: Any = self.engine(plan)
        self.engine.unsubscribe(token)
        return self.store.runs[result.run_start_uids[0]]

    def receive(self, documents: Sequence[tuple[str, dict[str, Any]]]) -> Any:
        for name, doc in documents:
            self.live(name, doc)
        return self.store.runs[documents[0][1]["uid"]]


def step_scan(bench: Bench) -> Any:
    det = bench.detector()
    return bench.measure(bp.scan([det], det.sample.x, -1, 1, 4))


def burst(bench: Bench) -> Any:
    return bench.measure(bp.count([bench.detector(frames_per_trigger=3)], 2))


def flight(bench: Bench) -> Any:
    det = bench.detector(kind=FlySpeckleDetector, exposure_time=0.02, nominal_exposure_time=0.02)
    return bench.measure(classify_fly(det, 5, det.sample.x, -1, 1))


def two_cameras(bench: Bench) -> Any:
    return bench.measure(bp.count([bench.detector("one", frames_per_trigger=2), bench.detector("two")], 2))


def several_streams(bench: Bench) -> Any:
    det = bench.detector()
    return bench.measure(bpp.baseline_wrapper(bp.count([det], 3), [det]))


def aborted(
    shape: tuple[int, ...], surplus: int = 1, validated: bool = False, multiplier: int | None = None
) -> Callable[[Bench], Any]:
    """Three events as ophyd-async writes them, into a file that holds more frames than they have."""

    def receive(bench: Bench) -> Any:
        per_event = multiplier or (shape[0] if len(shape) > 2 else 1)
        path = bench.store.frames_directory / f"{uuid.uuid4()}.h5"
        with h5py.File(path, "w") as file:
            file["/entry/data/data"] = numbered(3 * per_event + surplus)
        run = bench.receive(documents_of_a_flight(path, shape, 3, multiplier))
        if validated:  # Tiled makes the stored array as long as the file
            with pytest.warns(UserWarning, match="Structure validation"):
                assert run.validate()
            run = bench.store.runs[run.start["uid"]]
            assert len(run["primary/det"].read()) == 3 * per_event + surplus
        return run

    return receive


def numbered(count: int) -> NDArray[np.uint32]:
    """Frames that are told apart by their first pixel."""
    frames = np.random.default_rng(1).integers(1, 100, (count, ROWS, COLUMNS), np.uint32)
    frames[:, 0, 0] = np.arange(count)
    return frames


def documents_of_a_flight(
    path: Path, shape: tuple[int, ...], events: int, multiplier: int | None
) -> list[tuple[str, dict[str, Any]]]:
    import event_model

    run = event_model.compose_run()
    key = {
        "source": "test",
        "dtype": "array",
        "dtype_numpy": "<u4",
        "shape": [*shape],
        "external": "STREAM:",
    }
    stream = run.compose_descriptor(
        name="primary", hints={}, configuration={}, object_keys={"det": ["det"]}, data_keys={"det": key}
    )
    resource = str(uuid.uuid4())
    documents: list[tuple[str, Any]] = [
        ("start", run.start_doc),
        ("descriptor", stream.descriptor_doc),
        (
            "stream_resource",
            {
                "uid": resource,
                "data_key": "det",
                "mimetype": "application/x-hdf5",
                "uri": f"file://localhost{path}",
                "run_start": run.start_doc["uid"],
                "parameters": {"dataset": "/entry/data/data", "chunk_shape": (1, ROWS, COLUMNS)}
                | ({"multiplier": multiplier} if multiplier else {}),
            },
        ),
        (
            "stream_datum",
            {
                "uid": f"{resource}/0",
                "stream_resource": resource,
                "descriptor": stream.descriptor_doc["uid"],
                "indices": {"start": 0, "stop": events},
                "seq_nums": {"start": 1, "stop": events + 1},
            },
        ),
    ]
    stop: dict[str, Any] = dict(run.compose_stop(exit_status="abort"))
    stop["num_events"] = {"primary": events}  # as the RunEngine counts them
    return [*documents, ("stop", stop)]


LAYOUTS = [
    pytest.param(step_scan, {"det_image": 4}, id="step scan, a file each"),
    pytest.param(burst, {"det_image": 6}, id="burst (3, rows, columns)"),
    pytest.param(flight, {"det_image": 5}, id="flight, SWMR"),
    pytest.param(two_cameras, {"one_image": 4, "two_image": 2}, id="two cameras"),
    pytest.param(several_streams, {"det_image": 3, "baseline/det_image": 2}, id="two streams"),
    pytest.param(aborted((ROWS, COLUMNS)), {"det": 3}, id="abort (rows, columns)"),
    pytest.param(aborted((1, ROWS, COLUMNS)), {"det": 3}, id="abort (1, rows, columns)"),
    pytest.param(aborted((2, ROWS, COLUMNS)), {"det": 6}, id="abort (2, rows, columns)"),
    pytest.param(aborted((2, 1, ROWS, COLUMNS)), {"det": 6}, id="abort (2, 1, rows, columns)"),
    pytest.param(aborted((1, ROWS, COLUMNS), surplus=0), {"det": 3}, id="no surplus"),
    pytest.param(aborted((ROWS, COLUMNS), multiplier=3), {"det": 9}, id="abort, multiplier"),
    pytest.param(aborted((1, ROWS, COLUMNS), validated=True), {"det": 3}, id="abort, validated"),
    pytest.param(aborted((2, ROWS, COLUMNS), validated=True), {"det": 6}, id="abort of twos, validated"),
]


@pytest.mark.parametrize(("make", "counts"), LAYOUTS)
def test_all_who_read_a_run_see_the_same_frames(
    store: TiledStore,
    run_engine: RunEngine,
    live: LiveClassifier,
    make_detector: Callable[..., Any],
    tmp_path: Path,
    make: Callable[[Bench], Any],
    counts: dict[str, int],
) -> None:
    run = make(Bench(store, run_engine, live, make_detector))
    stored = StoredRun(run)
    assert {key: len(images) for key, images in stored.images.items()} == counts
    frames = [(key, index) for key, count in counts.items() for index in range(count)]

    # Pixels: as in the file, where there is one; in order and all different in any case.
    pixels = {key: list(images.read(np.arange(len(images)))) for key, images in stored.images.items()}
    for key, images in stored.images.items():
        if key == "det":
            assert [frame[0, 0] for frame in pixels[key]] == list(range(len(images)))
        assert len({frame.tobytes() for frame in pixels[key]}) == len(images)
        assert {(frame.shape, frame.dtype) for frame in pixels[key]} == {(images.shape, images.dtype)}
        assert next(images.read([len(images) - 1])).tobytes() == pixels[key][-1].tobytes()
        with pytest.raises(ValueError, match=f"there are {len(images)} frames, none with index"):
            list(images.read([len(images)]))

    # Queries.
    table = find_frames(run)
    assert sorted(zip(table["image_key"], table["frame_index"], strict=True)) == sorted(frames)
    assert set(table["status"]) == {"classified"}
    for label, frame in read_frames(run, table):
        row = table.loc[label]
        assert frame.tobytes() == pixels[row["image_key"]][row["frame_index"]].tobytes()
    for key, rows in table.groupby("image_key"):
        lazy = frames_to_xarray(run, rows)["frames"]
        assert [frame.tobytes() for frame in lazy.to_numpy()] == [
            pixels[key][index].tobytes() for index in rows["frame_index"]
        ]

    # Reprocessing, of all and of what is left.
    assert sorted(find_task(stored, everything=True).frames) == sorted(frames)
    assert find_task(stored).wanted == []
    assert complete_run(run, sevens(), everything=True).classified == len(frames)
    assert sorted(StoredRun(store.runs[stored.uid]).results.rows) == sorted(frames)

    # Labels to train on, by a person.
    path = tmp_path / "labels.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["run_uid", "image_key", "frame_index", "disk_number"])
        writer.writerows([stored.uid, key, index, 7] for key, index in frames)
    labelled = frames_of_labels({stored.uid: run}, path)
    assert labelled.left_out == 0
    drawn = [drawn.frame for drawn in labelled.read()]
    for (key, index), frame in zip(frames, drawn, strict=True):
        np.testing.assert_array_equal(frame, pixels[key][index].astype(np.float32))

    # The command line.
    for key, count in counts.items():
        chosen = read_stored_frame(store, stored.uid, count - 1, key)
        assert chosen.pixels.tobytes() == pixels[key][-1].tobytes()
        assert chosen.beam_center == (0.0, 0.0)  # the session's, or the detector's own


def test_runs_of_earlier_versions(store: TiledStore, measure: Callable[..., str]) -> None:
    """Their summary names no stream of results, their results neither masks nor beam centre."""
    run = store.runs[measure(store, [good(7), good(5)], frames_per_trigger=2)]
    stored = StoredRun(run)
    assert "stream" not in stored.summary
    assert stored.result_stream == "classification"
    assert sorted(stored.results.rows) == [("det_image", index) for index in range(6)]
    assert vars(stored.settings) == vars(FrameSettings())
    assert [frame[0, 0] for frame in stored.images_of("det_image").read(range(6))] == list(range(6))
    old_columns = stored.result_columns(["disk_number", "a_column_of_tomorrow"])
    assert old_columns is not None and old_columns["a_column_of_tomorrow"].isna().all()
    with pytest.raises(ValueError, match="no stream of the run .* has the image key 'other_image'"):
        stored.images_of("other_image")


def test_an_image_key_without_its_stream_is_found(
    store: TiledStore,
    run_engine: RunEngine,
    live: LiveClassifier,
    make_detector: Callable[..., Any],
) -> None:
    """Versions before named every image by its data key alone."""
    bench = Bench(store, run_engine, live, make_detector)
    det = bench.detector()
    run = bench.measure(bp.count([det], 1, md={"note": "one"}))
    assert StoredRun(run).images_of("det_image").stream == "primary"
    only_baseline = bench.measure(bpp.baseline_wrapper(bp.count([], 0), [det]))
    assert StoredRun(only_baseline).images_of("det_image").stream == "baseline"
