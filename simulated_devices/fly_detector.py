"""A simulated area detector that flies: frames without a stop between them, read while they come.

Use :class:`FlySpeckleDetector` in the place of a camera that is kicked off once and then takes
frame after frame, perhaps while a stage moves. The frames of a flight go to one HDF5 file in SWMR
mode, and its documents (StreamResource, StreamDatum, and an EventPage with the truth about each
frame) can be collected during the flight.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from event_model import (
    ComposeResourceBundle,
    ComposeStreamResourceBundle,
    StreamRange,
    compose_resource,
    compose_stream_resource,
)
from ophyd import Component
from ophyd.status import DeviceStatus, StatusBase

from simulated_devices.detector import Reading, SpeckleDetector
from simulated_devices.exposures import Truth, simulate_frame, truth_data_keys
from simulated_devices.frame_files import FRAME_DATASET, prepare_directory
from simulated_devices.sample import LARGEST_SEED
from simulated_devices.signals import CheckedSignal, count
from simulated_devices.stages import SampleStage
from simulated_devices.swmr_files import TIMESTAMP_DATASET, SwmrFrameFile

__all__ = ["Flight", "FlySpeckleDetector"]


@dataclass(frozen=True)
class _Course:
    """What a flight is to be: number of frames, and the motor's position at each if one moves."""

    num: int
    motor: SampleStage | None
    positions: Sequence[float]


def _plan_course(
    num: int = 0, motor: SampleStage | None = None, start: float | None = None, stop: float | None = None
) -> _Course:
    num = count(num)
    if motor is not None and start is not None and stop is not None:
        for position in (start, stop):
            motor.check_value(position)
        return _Course(num, motor, np.linspace(start, stop, num).tolist())
    if (motor, start, stop) != (None, None, None):
        raise ValueError(
            "expected motor, start and stop, or none of them, got "
            f"motor={motor!r}, start={start!r}, stop={stop!r}"
        )
    return _Course(num, None, ())


@dataclass(eq=False)
class Flight:
    """One flight: what its thread shares with the device."""

    path: Path
    course: _Course
    declared: bool
    """Whether somebody asked for its description before, as who declares a stream does."""
    begun: DeviceStatus
    ended: DeviceStatus
    stopped: threading.Event = field(default_factory=threading.Event)
    may_go: threading.Event = field(default_factory=threading.Event)
    written: deque[tuple[Truth, float]] = field(default_factory=deque)
    """Truth and time of the frames that are in the file and not yet collected."""
    unpaged: list[tuple[Truth, float]] = field(default_factory=list)
    """The same of frames whose StreamDatum is handed out, but not yet their page."""
    collected: int = 0
    documents: ComposeStreamResourceBundle | None = None
    resource: ComposeResourceBundle | None = None
    """In their place, if nobody has declared a stream, and the Datums that the next page is to name."""
    datum_ids: list[str] = field(default_factory=list)
    thread: threading.Thread | None = None

    def stop(self) -> None:
        """End it before the next frame, and wait until the file is closed."""
        self.stopped.set()
        self.may_go.set()
        if self.thread is not None:
            self.thread.join()


class FlySpeckleDetector(SpeckleDetector):
    """A :class:`~simulated_devices.detector.SpeckleDetector` that flies as well.

    Parameters are the same; `frames_per_trigger` counts in step scans only. The attribute `flight` is the
    present or last flight, None when unstaged.
    In a flight a frame takes `exposure_time`, or as long as the simulation if that is longer.

    See Also
    --------
    speckle_plugin.plans.classify_fly : a plan that flies it, and collects during the flight.

    Notes
    -----
    Frames and truth stand in one stream, as they do in a step scan: the frames by StreamDatum, the
    truth by an EventPage. Bluesky collects pages from a device on its own only, hence there is no
    `get_index`, and each such detector of a run needs a stream of its own.

    The stream must be declared, ``declare_stream(det, name="primary", collect=True)``, before the detector
    flies. Where nobody does, as in :func:`bluesky.plans.fly` and in the `flyers` of ``SupplementalData``,
    bluesky refuses the StreamResource of any detector. Then its documents are of the older kind: Resource,
    Datum and events in the stream `NAME_flight`. A flight that nobody prepared takes `flight_frames` frames.
    """

    flight_frames = Component(CheckedSignal, check=count, value=10, kind="config")
    _course: _Course | None = None
    _described = False
    flight: Flight | None = None

    def prepare(self, value: Mapping[str, Any]) -> StatusBase:
        """Say what the next flights are to be; the status is done when the motor is where they start.

        Parameters
        ----------
        value : mapping
            `num`, the number of frames; and `motor`, `start`, `stop` where a
            :class:`~simulated_devices.stages.SampleStage` moves meanwhile at a constant speed, with
            its positions at the first and the last frame.

        Raises
        ------
        LimitError
            If the motor cannot go there.
        ValueError
            If `num` is no positive integer, or some of the others are missing.
        TypeError
            If there are other keys.
        """
        self._course = _plan_course(**value)
        if self._course.motor is not None:
            return self._course.motor.set(self._course.positions[0])
        done = DeviceStatus(self)
        done.set_finished()
        return done

    def kickoff(self) -> DeviceStatus:
        """Start to take frames; the status is done when the file is ready for the first.

        Raises
        ------
        FrameFileError
            If the folder for frames cannot be made or written to.
        RuntimeError
            If the detector is flying.
        """
        if self.flight is not None and not self.flight.ended.done:
            raise RuntimeError(f"{self.name} is flying: wait for complete(), or stop it")
        prepare_directory(self.data_directory)
        path = self.data_directory / f"{self.name}-{uuid.uuid4()}.h5"
        course = self._course or _plan_course(self.flight_frames.get())
        flight = Flight(path, course, self._described, begun=DeviceStatus(self), ended=DeviceStatus(self))
        flight.may_go.set()
        flight.thread = threading.Thread(
            target=self._fly, args=(flight,), name=f"{self.name}-flight", daemon=True
        )
        self.flight = flight
        flight.thread.start()
        return flight.begun

    def _fly(self, flight: Flight) -> None:
        try:
            with SwmrFrameFile(flight.path, self.grid.shape, self.response.dtype) as file:
                flight.begun.set_finished()
                for index in range(flight.course.num):
                    flight.may_go.wait()
                    if not self.take_frame(flight, file, index):
                        break
        except Exception as error:
            if not flight.begun.done:
                flight.begun.set_exception(error)
            flight.ended.set_exception(error)
        else:
            flight.ended.set_finished()

    def take_frame(self, flight: Flight, file: SwmrFrameFile, index: int) -> bool:
        """Take and write a frame; False if the flight was stopped meanwhile."""
        started = time.monotonic()
        if flight.course.motor is not None and not flight.stopped.is_set():
            flight.course.motor.set(flight.course.positions[index]).wait()
        truth = Truth(
            **asdict(self.sample.illuminate()),
            noise_seed=int(self._noise_seeds.integers(LARGEST_SEED + 1)),
            exposure_time=self.exposure_time.get(),
        )
        frame = simulate_frame(truth, self.grid, self.response, self._nominal_exposure_time, world=self.world)
        if flight.stopped.wait(max(truth.exposure_time - (time.monotonic() - started), 0.0)):
            return False
        now = time.time()
        file.append(frame, now)
        flight.written.append((truth, now))
        return True

    def complete(self) -> DeviceStatus:
        """Give a status that is done when all frames are written and the file is closed.

        It fails with what the flight failed with, such as a FrameFileError on a full disk; what
        was written before can be collected.

        Raises
        ------
        RuntimeError
            If there was no kickoff.
        """
        if self.flight is None:
            raise RuntimeError(f"{self.name} is not flying: kick it off first")
        return self.flight.ended

    def describe_collect(self) -> dict[str, Any]:
        """Describe the frames of a flight, (y, x), and the truth about each.

        By streams in a flight that nobody declared a stream for.
        """
        flight = self.flight
        idle = flight is None or (flight.ended.done and not flight.written and not flight.unpaged)
        self._described = self._described or idle
        declared = flight is None or idle or flight.declared
        name = f"{self.name}_image"
        image = {
            "source": f"SIM:{self.name}",
            "dtype": "array",
            "dtype_numpy": np.dtype(self.response.dtype).str,
            "shape": [*self.grid.shape],
            "dims": ["y", "x"],
            "external": "STREAM:" if declared else "FILESTORE:",
        }
        keys = Reading({name: image, **truth_data_keys(self.name)})
        return keys if declared else {f"{self.name}_flight": keys}

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the documents of the last reading, and of the frames written since the last call."""
        yield from super().collect_asset_docs()
        flight = self.flight
        new = len(flight.written) if flight is not None else 0
        if flight is None or not new:
            return
        parameters = {
            "dataset": FRAME_DATASET,
            "timestamps": TIMESTAMP_DATASET,
            "chunk_shape": [1, *self.grid.shape],
            "join_method": "stack",
            "swmr": True,
        }
        first, flight.collected = flight.collected, flight.collected + new
        flight.unpaged += [flight.written.popleft() for _ in range(new)]
        if not flight.declared:
            yield from self._old_documents(flight, parameters, first)
            return
        if flight.documents is None:
            flight.documents = compose_stream_resource(
                mimetype="application/x-hdf5",
                uri=flight.path.as_uri(),
                data_key=f"{self.name}_image",
                parameters=parameters,
            )
            yield "stream_resource", dict(flight.documents.stream_resource_doc)
        indices = StreamRange(start=first, stop=flight.collected)
        yield "stream_datum", dict(flight.documents.compose_stream_datum(indices))

    def _old_documents(
        self, flight: Flight, parameters: dict[str, Any], first: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give a Resource for the file, once, and a Datum for each frame from the first on."""
        if flight.resource is None:
            flight.resource = compose_resource(
                spec="AD_HDF5",
                root=str(self.data_directory),
                resource_path=flight.path.name,
                resource_kwargs=parameters,
            )
            yield "resource", dict(flight.resource.resource_doc)
        for number in range(first, flight.collected):
            datum = flight.resource.compose_datum(datum_kwargs={"point_number": number})
            flight.datum_ids.append(datum["datum_id"])
            yield "datum", dict(datum)

    def collect_pages(self) -> Iterator[dict[str, Any]]:
        """Give the truth about the frames that `collect_asset_docs` spoke of, as one EventPage."""
        if self.flight is None or not self.flight.unpaged:
            return
        frames, self.flight.unpaged = self.flight.unpaged, []
        rows = [asdict(truth) for truth, _ in frames]
        times = [taken for _, taken in frames]
        data: dict[str, list[Any]] = {
            f"{self.name}_truth_{key}": [row[key] for row in rows] for key in rows[0]
        }
        if self.flight.resource is not None:
            data[f"{self.name}_image"], self.flight.datum_ids = self.flight.datum_ids, []
        yield {"data": data, "timestamps": dict.fromkeys(data, times), "time": times}

    def pause(self) -> None:
        """Take no further frame until :meth:`resume`; the RunEngine calls it when a plan is paused."""
        if self.flight is not None:
            self.flight.may_go.clear()

    def resume(self) -> None:
        """Go on."""
        if self.flight is not None:
            self.flight.may_go.set()

    def stop(self, *, success: bool = False) -> None:
        """End a flight before its next frame; the frames so far can be collected, their file is closed."""
        if self.flight is not None:
            self.flight.stop()
        super().stop(success=success)

    def stage(self) -> list[Any]:
        """Prepare for a run.

        Raises
        ------
        FrameFileError
            If the folder for frames cannot be made or written to.
        """
        self._end_flight()
        return super().stage()

    def unstage(self) -> list[Any]:
        """End a run, and a flight that is still going on; what was prepared is forgotten."""
        self._end_flight()
        self._course, self._described = None, False
        return super().unstage()

    def _end_flight(self) -> None:
        if self.flight is not None:
            self.flight.stop()
        self.flight = None
