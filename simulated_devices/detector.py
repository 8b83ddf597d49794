"""A simulated area detector that takes speckle patterns of a sample, as an Ophyd device.

Use :class:`SpeckleDetector` in any plan in the place of a real camera. Its frames go to HDF5,
one closed file for each exposure, and its events refer to them. A file for each exposure
keeps frames and events aligned whatever a plan does (an exposure that is never read, a pause
and rewind), and another process can read it at once.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from event_model import compose_resource
from ophyd import Component, Device
from ophyd.status import DeviceStatus

from simulated_devices.detector_response import DetectorResponse
from simulated_devices.exposures import Truth, simulate_frame, truth_data_keys
from simulated_devices.frame_files import FRAME_DATASET, link_again, prepare_directory, write_frames
from simulated_devices.grids import PixelGrid, quadrant
from simulated_devices.sample import LARGEST_SEED, SpeckleSample
from simulated_devices.signals import CheckedSignal, count, non_negative
from simulated_devices.world import World

__all__ = ["SpeckleDetector"]

Reading = OrderedDict[str, dict[str, Any]]


@dataclass
class _Exposure:
    """A finished exposure."""

    path: Path
    truth: Truth
    time: float
    reads: int = 0


class SpeckleDetector(Device):
    """A camera that looks at a :class:`~simulated_devices.sample.SpeckleSample`.

    Parameters
    ----------
    name : str
        Name of the device; its frames are under `name_image`.
    sample : SpeckleSample
        What it looks at.
    data_directory : path
        Folder for its files, made when it is first staged or triggered.
    grid : PixelGrid, optional
        Where its pixels look; by default a quadrant of 257 x 257.
    response : DetectorResponse, optional
        Its noise and defects; by default it has none.
    world : World, optional
        What particles and beam are like; by default disks at rest in coherent light.
    exposure_time : float
        Seconds per frame; 0 takes no longer than the simulation does.
    nominal_exposure_time : float
        Seconds in which a frame collects `response.photons` photons; they scale with the
        exposure time, but for 0, which stands for the nominal time.
    frames_per_trigger : int
        Frames in one exposure.
    seed : int, optional
        Of the noise. By default one is drawn. The seed of each exposure is read with it.

    Attributes
    ----------
    exposure_time, frames_per_trigger : CheckedSignal
        The settings of the same names, which plans can set; the latter between runs only.

    Raises
    ------
    ValueError
        If a setting is outside of its range.
    """

    exposure_time = Component(CheckedSignal, check=non_negative, value=0.0, kind="config")
    frames_per_trigger = Component(CheckedSignal, check=count, value=1, kind="config")

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        sample: SpeckleSample,
        data_directory: str | Path,
        grid: PixelGrid | None = None,
        response: DetectorResponse | None = None,
        world: World | None = None,
        exposure_time: float = 0.0,
        nominal_exposure_time: float = 1.0,
        frames_per_trigger: int = 1,
        seed: int | None = None,
        **kwargs: Any,
    ) -> None:
        if not non_negative(nominal_exposure_time):
            raise ValueError("nominal_exposure_time must be above 0 s, not 0")
        super().__init__(prefix, name=name, **kwargs)
        self.exposure_time.put(exposure_time)
        self.frames_per_trigger.put(frames_per_trigger)
        self._sample = sample
        self._data_directory = Path(data_directory).absolute()
        self._grid = quadrant() if grid is None else grid
        self._response = DetectorResponse() if response is None else response
        self._world = World() if world is None else world
        self._nominal_exposure_time = float(nominal_exposure_time)
        self._noise_seeds = np.random.default_rng(seed)
        self._created = time.time()
        self._staged_frames: int | None = None
        self._lock = threading.Lock()
        self._triggers = 0
        self._finished: _Exposure | None = None
        self._asset_documents: list[tuple[str, dict[str, Any]]] = []

    @property
    def grid(self) -> PixelGrid:
        """Where the pixels look."""
        return self._grid

    @property
    def response(self) -> DetectorResponse:
        """Noise and defects; another one may be set between runs.

        Raises
        ------
        RuntimeError
            If it is set within a run, whose frames are already described.
        """
        return self._response

    @response.setter
    def response(self, response: DetectorResponse) -> None:
        if self._staged_frames is not None:
            raise RuntimeError(f"the response of {self.name} was changed within a run: set it before the run")
        self._response = response

    @property
    def world(self) -> World:
        """What particles and beam are like."""
        return self._world

    @property
    def sample(self) -> SpeckleSample:
        """What the detector looks at."""
        return self._sample

    @property
    def data_directory(self) -> Path:
        """Folder of the files."""
        return self._data_directory

    @property
    def hints(self) -> dict[str, Any]:
        """What tables and plots show: the true disk number, as frames are no numbers."""
        return {"fields": [f"{self.name}_truth_disk_number"]}

    def stage(self) -> list[Any]:
        """Prepare for a run.

        Raises
        ------
        FrameFileError
            If the folder for frames cannot be made or written to.
        """
        prepare_directory(self._data_directory)
        staged: list[Any] = super().stage()
        self._staged_frames = self.frames_per_trigger.get()
        self._asset_documents.clear()
        return staged

    def unstage(self) -> list[Any]:
        """End a run."""
        self._staged_frames = None
        self._asset_documents.clear()
        unstaged: list[Any] = super().unstage()
        return unstaged

    def trigger(self) -> DeviceStatus:
        """Start an exposure; the status is done when its file is closed.

        A later trigger supersedes an exposure that is still going on.

        Raises
        ------
        FrameFileError
            If the folder for frames cannot be made or written to.
        RuntimeError
            If the frames per trigger were changed within a run.
        """
        frames = self.frames_per_trigger.get()
        if self._staged_frames not in (None, frames):
            raise RuntimeError(
                f"{self.frames_per_trigger.name} was changed from {self._staged_frames} to {frames} within "
                "a run, whose frames are already described: set it before the run"
            )
        if self._staged_frames is None:
            prepare_directory(self._data_directory)
        truth = Truth(
            **asdict(self._sample.illuminate()),
            noise_seed=int(self._noise_seeds.integers(LARGEST_SEED + 1)),
            exposure_time=self.exposure_time.get(),
        )
        status = DeviceStatus(self)
        with self._lock:
            self._triggers += 1
            self._finished = None
            threading.Thread(
                target=self._expose,
                args=(truth, frames, self._triggers, status),
                name=f"{self.name}-exposure",
                daemon=True,
            ).start()
        return status

    def _expose(self, truth: Truth, frames: int, trigger: int, status: DeviceStatus) -> None:
        started = time.monotonic()
        path = self._data_directory / f"{self.name}-{uuid.uuid4()}.h5"
        try:
            self._write(path, truth, frames)
            time.sleep(max(frames * truth.exposure_time - (time.monotonic() - started), 0.0))
        except Exception as error:
            status.set_exception(error)
            return
        with self._lock:
            if trigger == self._triggers:
                self._finished = _Exposure(path, truth, time.time())
        status.set_finished()

    def _write(self, path: Path, truth: Truth, frames: int) -> None:
        images = (
            simulate_frame(truth, self._grid, self._response, self._nominal_exposure_time, index, self._world)
            for index in range(frames)
        )
        write_frames(path, images, (frames, *self._grid.shape), self._response.dtype)

    def read(self) -> Reading:
        """Read the last exposure: the reference to its frames, and the truth about them.

        Raises
        ------
        RuntimeError
            If there is no finished exposure.
        """
        with self._lock:
            exposure = self._finished
            if exposure is None:
                raise RuntimeError(
                    f"{self.name} has no finished exposure to read: trigger it first, and wait for the status"
                )
            exposure.reads += 1
            # A stream in Tiled knows each file once: an exposure that is read into two events gets two names.
            path = exposure.path if exposure.reads == 1 else link_again(exposure.path, exposure.reads)
        resource, compose_datum, _ = compose_resource(
            spec="AD_HDF5",
            root=str(self._data_directory),
            resource_path=path.name,
            resource_kwargs={
                "dataset": FRAME_DATASET,
                "chunk_shape": self._image_chunk(),
                "join_method": "stack",
                "swmr": False,
                **({} if self._staged_frames in (None, 1) else {"frame_per_point": self._staged_frames}),
            },
        )
        datum = compose_datum(datum_kwargs={})
        self._asset_documents = [("resource", dict(resource)), ("datum", dict(datum))]
        values = {f"{self.name}_image": datum["datum_id"]}
        values |= {f"{self.name}_truth_{field}": value for field, value in asdict(exposure.truth).items()}
        reading: Reading = super().read()
        reading.update({key: {"value": v, "timestamp": exposure.time} for key, v in values.items()})
        return reading

    def collect_asset_docs(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Give the Resource and the Datum of the last reading, once."""
        documents, self._asset_documents = self._asset_documents, []
        yield from documents

    def _image_shape(self) -> list[int]:
        frames = self.frames_per_trigger.get()
        return [*self._grid.shape] if frames == 1 else [frames, *self._grid.shape]

    def _image_chunk(self) -> list[int]:
        return [1, *self._image_shape()]  # the server reads an event at a time

    def describe(self) -> Reading:
        """Describe the frames, (y, x) or (frame, y, x) if there are several, and the truth."""
        shape = self._image_shape()
        description: Reading = super().describe()
        description[f"{self.name}_image"] = {
            "source": f"SIM:{self.name}",
            "dtype": "array",
            "dtype_numpy": np.dtype(self._response.dtype).str,
            "shape": shape,
            "dims": ["frame", "y", "x"][-len(shape) :],
            "external": "FILESTORE:",
        }
        description.update(truth_data_keys(self.name))
        return description

    def _settings(self) -> dict[str, tuple[Any, dict[str, Any]]]:
        """Give value and description of each setting that is no signal."""
        number, text = {"dtype": "number", "shape": []}, {"dtype": "string", "shape": []}
        sample = self._sample
        return {
            "beam_center": (list(self._grid.beam_center), {"dtype": "array", "shape": [2]}),
            "pitch": (self._grid.pitch, number),
            "grid_shape": (list(self._grid.shape), {"dtype": "array", "dtype_numpy": "<i8", "shape": [2]}),
            "saturation_level": (self._response.effective_saturation_level, number),
            "nominal_exposure_time": (self._nominal_exposure_time, {**number, "units": "s"}),
            "response": (json.dumps(self._response.to_dict(), sort_keys=True), text),
            "world": (json.dumps(self._world.to_dict(), sort_keys=True), text),
            "sample_family": (sample.family.get(), text),
            "sample_map": (json.dumps(sample.map.to_dict(), sort_keys=True), text),
            "sample_seed": (sample.seed.get(), {"dtype": "integer", "shape": []}),
            "sample_frozen": (sample.frozen.get(), {"dtype": "boolean", "shape": []}),
        }

    def read_configuration(self) -> Reading:
        """Give all settings that a frame depends on, as plain values."""
        configuration: Reading = super().read_configuration()
        for key, (value, _) in self._settings().items():
            configuration[f"{self.name}_{key}"] = {"value": value, "timestamp": self._created}
        return configuration

    def describe_configuration(self) -> Reading:
        """Describe the settings."""
        description: Reading = super().describe_configuration()
        for key, (_, kind) in self._settings().items():
            description[f"{self.name}_{key}"] = {"source": f"SIM:{self.name}", **kind}
        return description
