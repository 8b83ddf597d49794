"""The detector in real plans: documents, files, and frames made again from them."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp
import h5py
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count, grid_scan, list_scan, scan
from bluesky.utils import FailedStatus, RunEngineInterrupted
from numpy.typing import NDArray

from simulated_devices import (
    FRAME_DATASET,
    DetectorResponse,
    FrameFileError,
    PixelGrid,
    SpeckleDetector,
    SpeckleSample,
    quadrant,
    regenerate_frame,
)

NOISY = DetectorResponse(photons=1e5, dark_level=2.0, readout_noise=1.0, dtype="uint16")
TRUTH = ("disk_number", "family", "seed", "noise_seed", "x", "y", "exposure_time", "frozen")


class Documents:
    """All documents of some runs, as they came."""

    def __init__(self) -> None:
        self.all: list[tuple[str, dict[str, Any]]] = []

    def __call__(self, name: str, document: dict[str, Any]) -> None:
        self.all.append((name, document))

    def __getitem__(self, name: str) -> list[dict[str, Any]]:
        return [document for other, document in self.all if other == name]

    @property
    def configuration(self) -> dict[str, Any]:
        configuration: dict[str, Any] = self["descriptor"][-1]["configuration"]["det"]["data"]
        return configuration

    def exposures(self) -> list[NDArray[Any]]:
        """Follow each event to its file as a reader would."""
        resources = {doc["uid"]: doc for doc in self["resource"]}
        data = {doc["datum_id"]: resources[doc["resource"]] for doc in self["datum"]}
        exposures = []
        for event in self["event"]:
            resource = data[event["data"]["det_image"]]
            with h5py.File(Path(resource["root"]) / resource["resource_path"]) as file:
                exposures.append(file[resource["resource_kwargs"]["dataset"]][:])
        return exposures

    def check(self) -> None:
        """Make every frame again from its documents."""
        for event, exposure in zip(self["event"], self.exposures(), strict=True):
            for index, frame in enumerate(exposure):
                again = regenerate_frame(event["data"], self.configuration, "det", index)
                assert again.dtype == frame.dtype
                np.testing.assert_array_equal(again, frame)


def plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(type(key) is str and plain(v) for key, v in value.items())
    if isinstance(value, list | tuple):
        return all(map(plain, value))
    return value is None or type(value) in (bool, int, float, str)


@pytest.fixture
def sample() -> SpeckleSample:
    return SpeckleSample(name="sample", seed=1)


@pytest.fixture
def detector(sample: SpeckleSample, tmp_path: Path) -> SpeckleDetector:
    return SpeckleDetector(
        name="det",
        sample=sample,
        data_directory=tmp_path / "frames",
        grid=PixelGrid((33, 40), 0.003, (3.5, -2.0)),
        response=NOISY,
        seed=2,
    )


@pytest.fixture
def documents(run_engine: RunEngine) -> Documents:
    documents = Documents()
    run_engine.subscribe(documents)
    return documents


def test_making_a_detector_makes_nothing(detector: SpeckleDetector) -> None:
    assert not detector.data_directory.exists()


def test_count(run_engine: RunEngine, detector: SpeckleDetector, documents: Documents) -> None:
    run_engine(count([detector], num=3))
    assert documents["stop"][0]["exit_status"] == "success"
    names = [name for name, _ in documents.all]
    assert names == ["start", "descriptor", *["resource", "datum", "event"] * 3, "stop"]
    (descriptor,) = documents["descriptor"]
    assert descriptor["data_keys"]["det_image"] == {
        "source": "SIM:det",
        "dtype": "array",
        "dtype_numpy": "<u2",
        "shape": [33, 40],
        "dims": ["y", "x"],
        "external": "FILESTORE:",
        "object_name": "det",
    }
    assert descriptor["hints"]["det"] == {"fields": ["det_truth_disk_number"]}
    keys = {"det_image", *(f"det_truth_{field}" for field in TRUTH)}
    assert set(descriptor["data_keys"]) == keys
    for event in documents["event"]:
        assert set(event["data"]) == keys
        assert event["filled"] == {"det_image": False}
    for resource in documents["resource"]:
        assert resource["spec"] == "AD_HDF5"
        assert resource["resource_kwargs"]["dataset"] == FRAME_DATASET == "/entry/data/data"
    assert [datum["datum_kwargs"] for datum in documents["datum"]] == [{}] * 3
    assert len({event["data"]["det_truth_seed"] for event in documents["event"]}) == 3
    assert len({event["data"]["det_truth_noise_seed"] for event in documents["event"]}) == 3
    assert [exposure.shape for exposure in documents.exposures()] == [(1, 33, 40)] * 3
    documents.check()


def test_documents_hold_plain_values(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents
) -> None:
    run_engine(scan([detector], detector.sample.x, np.float32(-1), np.float32(1), num=3))
    for name, document in documents.all:
        if name != "start":  # which the plan writes
            assert plain(document), document
            json.dumps(document)
    for document in documents["descriptor"] + documents["event"]:
        keys = document["data_keys"] if "data_keys" in document else document["data"]
        assert not [key for key in keys if set("./") & set(key)]


def test_configuration(run_engine: RunEngine, detector: SpeckleDetector, documents: Documents) -> None:
    run_engine(count([detector]))
    configuration = documents.configuration
    assert configuration["det_beam_center"] == [3.5, -2.0]
    assert configuration["det_pitch"] == 0.003
    assert configuration["det_grid_shape"] == [33, 40]
    assert configuration["det_saturation_level"] == 65535.0
    assert configuration["det_exposure_time"] == 0.0
    assert configuration["det_frames_per_trigger"] == 1
    assert DetectorResponse.from_dict(json.loads(configuration["det_response"])) == NOISY
    assert configuration["det_sample_family"] == "mono"
    assert configuration["det_sample_seed"] == 1
    assert configuration["det_sample_frozen"] is False
    assert json.loads(configuration["det_sample_map"])["shape"] == "gradient"
    keys = documents["descriptor"][0]["configuration"]["det"]["data_keys"]
    assert keys.keys() == configuration.keys()


def test_scan_over_the_stages(run_engine: RunEngine, detector: SpeckleDetector, documents: Documents) -> None:
    sample = detector.sample
    run_engine(grid_scan([detector], sample.y, -0.5, 0.5, 2, sample.x, -1, 1, 3))
    data = [event["data"] for event in documents["event"]]
    assert [d["det_truth_disk_number"] for d in data] == [2, 11, 20, 2, 11, 20]
    for d in data:
        assert (d["det_truth_x"], d["det_truth_y"]) == (d["sample_x"], d["sample_y"])
        assert d["det_truth_disk_number"] == sample.map.disk_number(d["sample_x"], d["sample_y"])
    documents.check()


@pytest.mark.parametrize("family", ["mono", "poly", "poly_published", "constant_radius"])
def test_family(run_engine: RunEngine, detector: SpeckleDetector, documents: Documents, family: str) -> None:
    run_engine(bps.mv(detector.sample.family, family))
    run_engine(count([detector], num=2))
    assert {event["data"]["det_truth_family"] for event in documents["event"]} == {family}
    documents.check()


@pytest.mark.parametrize("frozen", [False, True])
def test_burst(run_engine: RunEngine, detector: SpeckleDetector, documents: Documents, frozen: bool) -> None:
    run_engine(bps.mv(detector.frames_per_trigger, 3, detector.sample.frozen, frozen))
    run_engine(count([detector], num=2))
    key = documents["descriptor"][0]["data_keys"]["det_image"]
    assert key["shape"] == [3, 33, 40]
    assert key["dims"] == ["frame", "y", "x"]
    first, second = documents.exposures()
    assert first.shape == (3, 33, 40)
    assert not np.array_equal(first[0], first[1])  # by the noise at least
    assert len({event["data"]["det_truth_seed"] for event in documents["event"]}) == (1 if frozen else 2)
    documents.check()


@pytest.mark.parametrize("frozen", [False, True])
def test_frozen_sample_without_noise(
    run_engine: RunEngine, sample: SpeckleSample, tmp_path: Path, documents: Documents, frozen: bool
) -> None:
    sample.frozen.put(frozen)
    detector = SpeckleDetector(
        name="det", sample=sample, data_directory=tmp_path, grid=quadrant(33), frames_per_trigger=2
    )
    positions: Any = [0, 0.5, 0]
    run_engine(list_scan([detector], sample.x, positions))
    first, other, again = documents.exposures()
    assert first.dtype == np.float32
    assert np.array_equal(first[0], first[1]) is frozen
    assert np.array_equal(first, again) is frozen
    assert not np.array_equal(first, other)
    documents.check()


def test_bare_triggers_leave_frames_and_events_aligned(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents
) -> None:
    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan() -> Any:
        for x in (-1, 0, 1):
            yield from bps.mv(detector.sample.x, x)
            yield from bps.trigger(detector, wait=True)
            yield from bps.trigger(detector, wait=True)
            yield from bps.trigger_and_read([detector])
            yield from bps.checkpoint()

    run_engine(plan())
    assert len(list(detector.data_directory.iterdir())) == 9
    assert len(documents["resource"]) == len(documents["datum"]) == len(documents["event"]) == 3
    documents.check()


def test_exposure_read_into_two_events(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents
) -> None:
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.trigger(detector, wait=True)
        for _ in range(2):
            yield from bps.create()
            yield from bps.read(detector)
            yield from bps.save()

    run_engine(plan())
    first, second = documents.exposures()
    np.testing.assert_array_equal(first, second)
    assert len(documents["datum"]) == 2


@pytest.mark.parametrize("where", ["after trigger", "after read", "after save"])
def test_pause_and_rewind(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents, where: str
) -> None:
    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan() -> Any:
        for index, x in enumerate((-1, 0, 1)):

            def pause(here: str, index: int = index) -> Any:
                if here == where and index == 1:
                    yield from bps.pause()

            yield from bps.checkpoint()
            yield from bps.mv(detector.sample.x, x)
            yield from bps.trigger(detector, wait=True)
            yield from pause("after trigger")
            yield from bps.create()
            yield from bps.read(detector)
            yield from pause("after read")
            yield from bps.save()
            yield from pause("after save")

    with pytest.raises(RunEngineInterrupted):
        run_engine(plan())
    run_engine.resume()
    assert documents["stop"][0]["exit_status"] == "success"
    numbers = [event["data"]["det_truth_disk_number"] for event in documents["event"]]
    assert numbers == ([2, 11, 11, 20] if where == "after save" else [2, 11, 20])
    documents.check()


def test_later_trigger_supersedes_an_exposure(detector: SpeckleDetector) -> None:
    detector.exposure_time.put(0.3)
    slow = detector.trigger()
    detector.exposure_time.put(0.0)
    detector.trigger().wait(10)
    before = detector.read()["det_truth_noise_seed"]
    slow.wait(10)
    assert detector.read()["det_truth_noise_seed"] == before


def test_exposure_takes_its_time_beside_the_caller(detector: SpeckleDetector) -> None:
    detector.trigger().wait(20)  # compiles
    detector.exposure_time.put(0.2)
    detector.frames_per_trigger.put(2)
    started = time.monotonic()
    status = detector.trigger()
    assert time.monotonic() - started < 0.2
    with pytest.raises(RuntimeError, match="det has no finished exposure to read: trigger it first"):
        detector.read()
    status.wait(10)
    assert time.monotonic() - started >= 0.4


def test_photons_scale_with_the_exposure_time(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents
) -> None:
    # Within one run, where the descriptor's configuration keeps the first exposure time.
    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan() -> Any:
        for exposure_time in (0.0, 0.05, 0.1):
            yield from bps.mv(detector.exposure_time, exposure_time)
            yield from bps.trigger_and_read([detector])

    run_engine(plan())
    dark = 2.0 * 33 * 40
    photons = [exposure.sum() - dark for exposure in documents.exposures()]
    # Read-out noise adds some, as what it makes negative is read as 0.
    assert photons[0] == pytest.approx(1e5, rel=0.05)
    assert photons[1] == pytest.approx(5e3, rel=0.2)
    assert photons[2] == pytest.approx(1e4, rel=0.1)
    documents.check()


def test_frames_per_trigger_is_fixed_within_a_run(run_engine: RunEngine, detector: SpeckleDetector) -> None:
    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan() -> Any:
        yield from bps.trigger_and_read([detector])
        yield from bps.mv(detector.frames_per_trigger, 2)
        yield from bps.trigger_and_read([detector])

    with pytest.raises(RuntimeError, match="changed from 1 to 2 within a run.*set it before the run"):
        run_engine(plan())


def test_error_in_the_thread_fails_the_plan(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise ValueError("so many disks do not fit")

    monkeypatch.setattr("simulated_devices.world.draw_system", fail)
    with pytest.raises(FailedStatus) as failure:
        run_engine(count([detector]))
    assert "so many disks do not fit" in str(failure.value.__cause__)
    assert documents["stop"][0]["exit_status"] == "fail"
    assert list(detector.data_directory.iterdir()) == []


def test_full_disk(run_engine: RunEngine, detector: SpeckleDetector, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: Any) -> None:
        self.touch()
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FailedStatus) as failure:
        run_engine(count([detector]))
    cause = failure.value.__cause__
    assert isinstance(cause, FrameFileError)
    assert "No space left on device. Free space on the disk, or give the detector another" in str(cause)
    assert list(detector.data_directory.iterdir()) == []


def test_folder_that_cannot_be_made(run_engine: RunEngine, sample: SpeckleSample, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    detector = SpeckleDetector(name="det", sample=sample, data_directory=tmp_path / "file" / "frames")
    with pytest.raises(FrameFileError, match="cannot make the folder for frames.*another data_directory"):
        run_engine(count([detector]))
    with pytest.raises(FrameFileError, match="cannot make the folder for frames"):
        detector.trigger()


def test_folder_that_is_not_writable(
    run_engine: RunEngine, detector: SpeckleDetector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # chmod does not keep root from writing
    with pytest.raises(FrameFileError, match="is not writable: give the detector another data_directory"):
        run_engine(count([detector]))


def test_wrong_settings(run_engine: RunEngine, detector: SpeckleDetector, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="det_exposure_time: expected a finite number of 0 or more, got -1"):
        detector.exposure_time.put(-1)
    with pytest.raises(FailedStatus) as failure:
        run_engine(bps.mv(detector.frames_per_trigger, 1.5))
    assert "det_frames_per_trigger: expected an integer of 1 or more" in str(failure.value.__cause__)
    with pytest.raises(ValueError, match="nominal_exposure_time must be above 0"):
        SpeckleDetector(name="d", sample=detector.sample, data_directory=tmp_path, nominal_exposure_time=0)


def test_regenerate_frame_says_what_is_missing(
    run_engine: RunEngine, detector: SpeckleDetector, documents: Documents
) -> None:
    run_engine(count([detector]))
    data = documents["event"][0]["data"]
    with pytest.raises(ValueError, match="the data lacks 'camera_truth_x'.*Give the name"):
        regenerate_frame(data, documents.configuration, "camera")
    with pytest.raises(ValueError, match="the configuration lacks 'det_frames_per_trigger'; it has nothing"):
        regenerate_frame(data, {}, "det")
    with pytest.raises(ValueError, match="frame_index must be from 0 to 0, not 1"):
        regenerate_frame(data, documents.configuration, "det", 1)


@pytest.fixture(scope="module")
def tiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Any, Path]]:
    from tiled.client import from_uri
    from tiled.server import SimpleTiledServer

    folder = tmp_path_factory.mktemp("tiled")
    server = SimpleTiledServer(folder / "server", readable_storage=[folder / "frames"])
    try:
        client = from_uri(server.uri)
        yield client, folder / "frames"
        client.context.close()
    finally:
        server.close()


@pytest.mark.parametrize("frames", [1, 3])
def test_run_reads_back_from_tiled(
    run_engine: RunEngine, sample: SpeckleSample, tiled: tuple[Any, Path], frames: int, documents: Documents
) -> None:
    from bluesky_tiled_plugins import TiledWriter

    client, folder = tiled
    detector = SpeckleDetector(
        name="det",
        sample=sample,
        data_directory=folder,
        grid=quadrant(33),
        response=NOISY,
        frames_per_trigger=frames,
    )
    run_engine.subscribe(TiledWriter(client, batch_size=10))

    @bpp.stage_decorator([detector])
    @bpp.run_decorator()
    def plan() -> Any:
        for x in (-1, 0, 1):
            yield from bps.mv(sample.x, x)
            yield from bps.trigger(detector, wait=True)  # never read
            yield from bps.trigger_and_read([detector, sample.x])

    run_engine(plan())
    stream = client[documents["start"][0]["uid"]]["primary"]
    images = stream["det_image"].read()
    assert images.shape == ((3, 33, 33) if frames == 1 else (3, frames, 33, 33))
    assert images.dtype == np.uint16
    np.testing.assert_array_equal(images, np.reshape(documents.exposures(), images.shape))
    np.testing.assert_array_equal(stream["det_image"][1], images[1])
    table = stream.read()
    assert table["det_image"].dims == (("time", "y", "x") if frames == 1 else ("time", "frame", "y", "x"))
    assert table["det_truth_disk_number"].values.tolist() == [2, 11, 20]
    configuration = stream.metadata["configuration"]["det"]["data"]
    for row in range(3):
        data = {key: table[key].values[row] for key in table}
        for index, frame in enumerate(images[row].reshape(frames, 33, 33)):
            np.testing.assert_array_equal(regenerate_frame(data, configuration, "det", index), frame)
