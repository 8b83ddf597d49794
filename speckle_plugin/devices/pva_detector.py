"""A stream of frames over PVAccess, without files of its own, as a detector that flies.

Use :class:`PvaDetector` with :func:`speckle_plugin.plans.classify_fly` where a detector, or a program that
works on its frames, offers them as an NTNDArray only. It writes what comes into one HDF5 file (SWMR), so that
the frames are classified at the rate at which they come, stored, and can be classified again.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import h5py
from event_model import StreamRange, compose_stream_resource
from numpy.typing import NDArray
from ophyd.status import DeviceStatus

from speckle_plugin.frames.nt_ndarray import NTNDArrayError, read_nt_ndarray

__all__ = ["PvaDetector"]

logger = logging.getLogger(__name__)

FRAMES, TIMES = "/entry/data/data", "/entry/data/timestamps"
QUEUE_REQUEST = "record[queueSize={}]"


class PvaDetector:
    """A detector whose frames come as updates of a process variable.

    A frame that was lost on the way shows as a gap in `uniqueId`: the event of the next one counts the lost
    under `NAME_lost`, and :attr:`lost` has their sum.

    Parameters
    ----------
    pv : str
        Name of the NTNDArray, such as ``13SIM1:Pva1:Image``.
    name : str
        Of the detector; its frames are under `NAME_image`.
    data_directory : path
        Folder for its files, below what the Tiled server reads.
    beam_center : (row, column), optional
    context : p4p.client.thread.Context, optional
        By default one of its own, of the environment's settings.
    queue_size : int
        Frames that the server keeps for a client that is slow.
    timeout : float
        Seconds to wait for the process variable.

    Attributes
    ----------
    lost, damaged : int
        Frames of the last flight that did not arrive, and that could not be decoded.
    """

    parent = None

    def __init__(
        self,
        pv: str,
        *,
        name: str,
        data_directory: str | Path,
        beam_center: tuple[float, float] | None = None,
        context: Any = None,
        queue_size: int = 100,
        timeout: float = 5.0,
    ) -> None:
        self.name = name
        self.lost = self.damaged = 0
        self._pv, self._timeout, self._queue_size = pv, timeout, queue_size
        self._directory = Path(data_directory).absolute()
        self._beam_center = beam_center
        self._context = context
        self._num = 0
        self._pattern: NDArray[Any] | None = None
        self.flight: _Flight | None = None

    def _connect(self) -> Any:
        if self._context is None:
            from p4p.client.thread import Context

            self._context = Context("pva", nt=False)
        return self._context

    @property
    def hints(self) -> dict[str, Any]:
        """What tables show."""
        return {"fields": [f"{self.name}_unique_id"]}

    def stage(self) -> list[Any]:
        """Prepare for a run."""
        self._directory.mkdir(parents=True, exist_ok=True)
        return [self]

    def unstage(self) -> list[Any]:
        """End a run, and a flight that is still going on."""
        self.stop()
        self.flight = None
        return [self]

    def prepare(self, value: Mapping[str, Any]) -> DeviceStatus:
        """Say how many frames are to be taken, and look what they are like.

        Parameters
        ----------
        value : mapping
            `num`, the number of frames.

        Raises
        ------
        ValueError
            If `num` is no positive number, or there is a motor, which nothing here could move.
        TimeoutError
            If the process variable does not answer.
        NTNDArrayError
            If what it gives is no frame.
        """
        if value.keys() != {"num"} or int(value["num"]) < 1:
            raise ValueError(
                f"expected num, a number of frames of 1 or more, and no motor; got {dict(value)}"
            )
        self._pattern = read_nt_ndarray(self._connect().get(self._pv, timeout=self._timeout))
        self._num = int(value["num"])
        return self._done()

    def kickoff(self) -> DeviceStatus:
        """Begin to take what comes.

        Raises
        ------
        RuntimeError
            If it was not prepared.
        """
        if self._pattern is None:
            raise RuntimeError(f"{self.name} does not know how many frames to take: prepare it first")
        path = self._directory / f"{self.name}-{uuid.uuid4()}.h5"
        self.lost = self.damaged = 0
        self.flight = _Flight(self, path, self._num, self._pattern)
        self.flight.begin(self._connect(), self._pv, QUEUE_REQUEST.format(self._queue_size))
        return self._done()

    def complete(self) -> DeviceStatus:
        """Give a status that is done when all frames have come."""
        if self.flight is None:
            raise RuntimeError(f"{self.name} is not flying: kick it off first")
        return self.flight.ended

    def stop(self, *, success: bool = False) -> None:
        """End a flight; the frames so far can be collected."""
        if self.flight is not None:
            self.flight.end()

    def describe_collect(self) -> dict[str, Any]:
        """Describe the frames, (y, x), and what is known of each.

        Raises
        ------
        RuntimeError
            If it was not prepared.
        """
        if self._pattern is None:
            raise RuntimeError(f"the frames of {self.name} are not known before it is prepared")
        source = f"pva://{self._pv}"
        number = {"source": source, "dtype": "integer", "dtype_numpy": "<i8", "shape": []}
        image = {
            "source": source,
            "dtype": "array",
            "dtype_numpy": self._pattern.dtype.str,
            "shape": [*self._pattern.shape],
            "dims": ["y", "x"],
            "external": "STREAM:",
        }
        return {
            f"{self.name}_image": image,
            f"{self.name}_unique_id": number,
            f"{self.name}_lost": number,
        }

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the documents of the frames that were written since the last call."""
        if self.flight is not None:
            yield from self.flight.collect_documents(f"{self.name}_image")

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Give what is known of these frames, as one EventPage."""
        if self.flight is not None and (rows := self.flight.collect_rows()):
            times = [row[0] for row in rows]
            columns = {
                f"{self.name}_unique_id": [r[1] for r in rows],
                f"{self.name}_lost": [r[2] for r in rows],
            }
            yield {"data": columns, "timestamps": dict.fromkeys(columns, times), "time": times}

    def read_configuration(self) -> dict[str, Any]:
        """Give the beam centre, if it is known."""
        center = {} if self._beam_center is None else {f"{self.name}_beam_center": list(self._beam_center)}
        return {key: {"value": value, "timestamp": time.time()} for key, value in center.items()}

    def describe_configuration(self) -> dict[str, Any]:
        """Describe it."""
        kind = {"source": "user", "dtype": "array", "shape": [2]}
        return dict.fromkeys(self.read_configuration(), kind)

    def _done(self) -> DeviceStatus:
        status = DeviceStatus(self)
        status.set_finished()
        return status


class _Flight:
    """One flight: a subscription, a thread that writes what it brings, and what was not collected yet."""

    def __init__(self, detector: PvaDetector, path: Path, num: int, pattern: NDArray[Any]) -> None:
        self.ended = DeviceStatus(detector)
        self._detector, self._path, self._num, self._pattern = detector, path, num, pattern
        self._updates: queue.Queue[Any] = queue.Queue()
        self._rows: list[tuple[float, int, int]] = []
        self._uncollected: list[tuple[float, int, int]] = []
        self._written = self._collected = 0
        self._documents: Any = None
        self._subscription: Any = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._write, name=f"{detector.name}-flight", daemon=True)

    def begin(self, context: Any, pv: str, request: str) -> None:
        self._thread.start()
        self._subscription = context.monitor(pv, self._updates.put, request=request)

    def end(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self._updates.put(None)
        self._thread.join()

    def _write(self) -> None:
        shape = self._pattern.shape
        try:
            with h5py.File(self._path, "w", libver="latest") as file:
                times = file.create_dataset(TIMES, (0,), "<f8", maxshape=(None,), chunks=(512,))
                frames = file.create_dataset(
                    FRAMES, (0, *shape), self._pattern.dtype, maxshape=(None, *shape), chunks=(1, *shape)
                )
                file.swmr_mode = True
                self._take(times, frames)
        except Exception as error:
            self.ended.set_exception(error)
        else:
            self.ended.set_finished()
        lost, damaged = self._detector.lost, self._detector.damaged
        if lost or damaged:
            logger.warning(
                "%s: %d frames were lost on the way, %d were damaged", self._detector.name, lost, damaged
            )

    def _take(self, times: Any, frames: Any) -> None:
        last: int | None = None
        first = True
        while self._written < self._num and (update := self._updates.get()) is not None:
            if first:  # the value of the moment, which was there before the flight
                first, last = False, int(update.uniqueId)
                continue
            number = int(update.uniqueId)
            # One that is not larger is of a source that began to count anew.
            lost = number - last - 1 if last is not None and number > last else 0
            last = number
            self._detector.lost += lost
            try:
                frame = read_nt_ndarray(update)
                if (frame.shape, frame.dtype) != (self._pattern.shape, self._pattern.dtype):
                    raise NTNDArrayError(f"a frame of {frame.shape}, {frame.dtype} in mid-flight")
            except NTNDArrayError as error:
                self._detector.damaged += 1
                logger.warning("frame %d of %s: %s", number, self._detector.name, error)
                continue
            taken = _time_of(update)
            for dataset, value in ((times, taken), (frames, frame)):  # the frame last
                dataset.resize(self._written + 1, axis=0)
                dataset[self._written] = value
                dataset.flush()
            with self._lock:
                self._written += 1
                self._rows.append((taken, number, lost))

    def collect_documents(self, data_key: str) -> Iterator[tuple[str, dict[str, Any]]]:
        with self._lock:
            self._uncollected += self._rows
            new, self._rows = len(self._rows), []
        if not new:
            return
        if self._documents is None:
            self._documents = compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=self._path.as_uri(),
                data_key=data_key,
                parameters={
                    "dataset": FRAMES,
                    "timestamps": TIMES,
                    "chunk_shape": [1, *self._pattern.shape],
                    "swmr": True,
                },
            )
            yield "stream_resource", dict(self._documents.stream_resource_doc)
        first, self._collected = self._collected, self._collected + new
        yield (
            "stream_datum",
            dict(self._documents.compose_stream_datum(StreamRange(start=first, stop=self._collected))),
        )

    def collect_rows(self) -> Sequence[tuple[float, int, int]]:
        rows, self._uncollected = self._uncollected, []
        return rows


def _time_of(update: Any) -> float:
    """Give when a frame was taken, in seconds since the epoch: by the driver, the server, or this clock."""
    for stamp in (update.dataTimeStamp, update.timeStamp):
        if stamp.secondsPastEpoch > 0:
            return float(stamp.secondsPastEpoch + stamp.nanoseconds * 1e-9)
    return time.time()
