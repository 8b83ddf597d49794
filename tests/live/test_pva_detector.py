"""Frames over PVAccess: a real server of p4p on loopback, every codec, gaps, labels as they come."""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import lz4.block
import numcodecs
import numpy as np
import pytest
from bluesky import RunEngine
from numpy.typing import NDArray
from p4p.client.thread import Context
from p4p.nt import NTNDArray
from p4p.server import Server
from p4p.server.thread import SharedPV
from PIL import Image

from simulated_devices import DetectorResponse, draw_system, intensity, quadrant
from speckle_plugin.devices.pva_detector import PvaDetector
from speckle_plugin.frames.nt_ndarray import TYPES, NTNDArrayError, read_nt_ndarray
from speckle_plugin.live import LiveClassifier
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.plans import classify_fly
from speckle_plugin.store import RunSaver, TiledStore, find_frames

FRAME = np.random.default_rng(1).poisson(20, (40, 50)).astype(np.uint16)


def compress(frame: NDArray[Any], codec: str) -> bytes:
    """Compress as NDPluginCodec does."""
    if codec == "lz4":
        return bytes(lz4.block.compress(frame.tobytes(), store_size=False))
    if codec == "blosc":
        return bytes(numcodecs.Blosc("lz4").encode(frame))
    if codec == "jpeg":
        file = io.BytesIO()
        Image.fromarray(frame).save(file, "JPEG", quality=100)
        return file.getvalue()
    with h5py.File(io.BytesIO(), "w") as file:
        flat = frame.reshape(-1)
        filters = hdf5plugin.Bitshuffle(cname="lz4")
        dataset = file.create_dataset("x", data=flat, chunks=flat.shape, **filters)
        return bytes(dataset.id.read_direct_chunk((0,))[1][12:])  # without the lengths that HDF5 adds


def structure(frame: NDArray[Any], unique_id: int = 0, codec: str = "") -> Any:
    """Make what a server posts."""
    value = NTNDArray().wrap(frame.reshape(-1, frame.shape[-1]))
    value.dimension = [{"size": size} for size in reversed(frame.shape)]
    value.uniqueId = unique_id
    if codec:
        data = compress(frame, codec)
        value.value = ("ubyteValue", np.frombuffer(data, np.uint8))
        value.codec = {"name": codec, "parameters": ("i", TYPES.index(frame.dtype.char))}
        value.compressedSize, value.uncompressedSize = len(data), frame.nbytes
    return value


@pytest.mark.parametrize(
    "dtype", [np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.float32, np.float64]
)
@pytest.mark.parametrize("codec", ["", "blosc", "lz4", "bslz4"])
def test_frames_come_back_as_they_were(codec: str, dtype: Any) -> None:
    frame = FRAME.astype(dtype)
    read = read_nt_ndarray(structure(frame, codec=codec))
    assert read.dtype == frame.dtype
    np.testing.assert_array_equal(read, frame)


def test_jpeg_is_nearly_as_it_was() -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    assert np.abs(read_nt_ndarray(structure(smooth, codec="jpeg")).astype(int) - smooth).max() <= 2


def test_what_is_no_frame() -> None:
    with pytest.raises(NTNDArrayError, match="two dimensions"):
        read_nt_ndarray(structure(np.ones((3, 40, 50), np.uint8)))
    np.testing.assert_array_equal(read_nt_ndarray(structure(FRAME[np.newaxis])), FRAME)
    unknown, damaged = structure(FRAME), structure(FRAME, codec="lz4")
    unknown.codec = {"name": "zip"}
    with pytest.raises(NTNDArrayError, match="'zip', expected one of blosc, lz4"):
        read_nt_ndarray(unknown)
    damaged.value = ("ubyteValue", damaged.value[:20])
    with pytest.raises(NTNDArrayError, match="damaged"):
        read_nt_ndarray(damaged)


class Source:
    """A server that posts frames, as an areaDetector's Pva1 plugin."""

    def __init__(self) -> None:
        self._pv = SharedPV(initial=structure(FRAME))
        configuration = {
            "EPICS_PVAS_INTF_ADDR_LIST": "127.0.0.1",
            "EPICS_PVAS_SERVER_PORT": "0",
            "EPICS_PVAS_BROADCAST_PORT": "0",
            "EPICS_PVAS_AUTO_BEACON_ADDR_LIST": "NO",
        }
        self._server = Server(providers=[{"TEST:Pva1:Image": self._pv}], conf=configuration, useenv=False)
        port = self._server.conf()["EPICS_PVAS_SERVER_PORT"]
        found = {"EPICS_PVA_NAME_SERVERS": f"127.0.0.1:{port}", "EPICS_PVA_AUTO_ADDR_LIST": "NO"}
        self.context = Context("pva", conf=found, useenv=False, nt=False)

    def post(self, frame: NDArray[Any], unique_id: int, codec: str = "") -> None:
        self._pv.post(structure(frame, unique_id, codec))

    def close(self) -> None:
        self.context.close()
        self._server.stop()


@pytest.fixture
def source() -> Iterator[Source]:
    source = Source()
    yield source
    source.close()


@pytest.fixture
def detector(source: Source, tmp_path: Path) -> PvaDetector:
    return PvaDetector(
        "TEST:Pva1:Image",
        name="det",
        data_directory=tmp_path / "frames",
        beam_center=(0.0, 0.0),
        context=source.context,
    )


def post_during(plan_is_flying: Callable[[], bool], post: Callable[[], None]) -> threading.Thread:
    """Post as soon as the flight is under way."""

    def run() -> None:
        while not plan_is_flying():
            time.sleep(0.01)
        time.sleep(0.3)  # for the value of the moment
        post()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def test_gaps_are_counted_and_damage_is_left_out(
    run_engine: RunEngine,
    make_live: Callable[..., LiveClassifier],
    documents: Any,
    source: Source,
    detector: PvaDetector,
    caplog: pytest.LogCaptureFixture,
) -> None:
    run_engine.subscribe(make_live())
    numbers = [5, 6, 9, 10, 3, 4]  # 7 and 8 are lost; then the source counts anew

    def post() -> None:
        source.post(FRAME, 4)
        for number in numbers:
            source.post(FRAME + number, number, "lz4")
            if number == 9:
                source.post(np.ones((3, 3), np.uint16), 10)
            time.sleep(0.05)

    poster = post_during(lambda: detector.flight is not None, post)
    run_engine(classify_fly(detector, 7, flush_period=0.1))
    poster.join()
    assert detector.damaged == 1
    rows = documents.rows()
    assert len(rows) == 7 and {row["status"] for row in rows} == {"classified"}
    pages = documents.of("event_page")
    assert [i for page in pages for i in page["data"]["det_unique_id"]] == [4, *numbers]
    # 4 follows 0, the value before the flight.
    assert [i for page in pages for i in page["data"]["det_lost"]] == [3, 0, 0, 2, 0, 0, 0]
    assert "5 frames were lost" in caplog.text


def test_a_stream_gets_its_labels(run_engine: RunEngine, source: Source, tmp_path: Path) -> None:
    """Compressed speckle frames, the shipped weights, and a real Tiled that has the frames afterwards."""
    generator, grid, response = (
        np.random.default_rng(3),
        quadrant(),
        DetectorResponse(photons=1e7, dtype="uint16"),
    )
    truth = [2, 5, 3, 9, 2, 4]
    frames = [
        response.respond(intensity(draw_system("mono", number, generator), grid), generator)
        for number in truth
    ]
    source.post(frames[0], 0)
    with TiledStore(tmp_path / "data") as store:
        detector = PvaDetector(
            "TEST:Pva1:Image",
            name="det",
            data_directory=store.frames_directory,
            beam_center=(0.0, 0.0),
            context=source.context,
        )
        live, saver = LiveClassifier(Classifier()), RunSaver(store.runs, store.journal_directory)
        live.subscribe(saver, saves=True)
        run_engine.subscribe(live)

        def post() -> None:
            for number, frame in enumerate(frames, start=1):
                source.post(frame, number, "bslz4")
                time.sleep(0.05)

        poster = post_during(lambda: detector.flight is not None, post)
        run_engine(classify_fly(detector, len(truth), flush_period=0.1))
        poster.join()
        live.close()
        saver.close()
        assert not saver.failures and detector.lost == 0
        run = store.runs.values().last()
        table = find_frames(run, with_frames=True)
        assert table["disk_number"].tolist() == truth
        np.testing.assert_array_equal(np.stack(table["frame"].tolist()), np.stack(frames))
        assert list(run["primary/internal"].read()["det_unique_id"]) == [1, 2, 3, 4, 5, 6]


def test_what_cannot_fly(detector: PvaDetector) -> None:
    with pytest.raises(RuntimeError, match="prepare it first"):
        detector.kickoff()
    with pytest.raises(ValueError, match="no motor"):
        detector.prepare({"num": 3, "motor": None})
    with pytest.raises(RuntimeError, match="kick it off first"):
        detector.complete()
