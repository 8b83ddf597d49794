"""The speckle detector as an ophyd-async device, of the same physics and the same ground truth.

Use :class:`AsyncSpeckleDetector` where plans or other devices are ophyd-async's. Each staging opens one
HDF5 file (SWMR); frames, their times and the truth about each are datasets in it, and stand in the run
as streams. Needs the extra `ophyd-async`; the package imports this module only when it is asked for it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from event_model import DataKey
from ophyd_async.core import (
    Array1D,
    DetectorAcquireLogic,
    DetectorDataLogic,
    DetectorTriggerLogic,
    PathProvider,
    SignalR,
    StandardDetector,
    StreamResourceDataProvider,
    StreamResourceInfo,
    TriggerInfo,
    soft_signal_r_and_setter,
    soft_signal_rw,
)

from simulated_devices.detector_response import DetectorResponse
from simulated_devices.exposures import Truth, simulate_frame, truth_data_keys
from simulated_devices.frame_files import FRAME_DATASET, prepare_directory
from simulated_devices.grids import PixelGrid, quadrant
from simulated_devices.sample import LARGEST_SEED, SpeckleSample
from simulated_devices.signals import non_negative
from simulated_devices.swmr_files import TIMESTAMP_DATASET, SwmrFrameFile
from simulated_devices.world import World

__all__ = ["AsyncSpeckleDetector"]

_TRUTH = {key.removeprefix("_truth_"): spec for key, spec in truth_data_keys("").items()}
"""Field of the truth -> its data key."""


def _truth_dataset(field: str) -> str:
    return f"/entry/truth/{field}"


class _Camera:
    """What takes and writes frames; the logics of the detector share it."""

    def __init__(
        self,
        sample: SpeckleSample,
        grid: PixelGrid,
        response: DetectorResponse,
        world: World,
        nominal_exposure_time: float,
        seed: int | None,
    ) -> None:
        self.sample, self.grid, self.response, self.world = sample, grid, response, world
        self.nominal_exposure_time = nominal_exposure_time
        self.frames_written, self._set_frames_written = soft_signal_r_and_setter(int)
        self.num, self.exposure_time, self.dead_time = 1, 0.0, 0.0
        self._noise_seeds = np.random.default_rng(seed)
        self._file: SwmrFrameFile | None = None
        self._stopped = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def open(self, path: Path) -> None:
        prepare_directory(path.parent)
        columns = {_truth_dataset(field): spec["dtype_numpy"] for field, spec in _TRUTH.items()}
        self._file = SwmrFrameFile(path, self.grid.shape, self.response.dtype, columns)
        self._set_frames_written(0)

    def start(self) -> None:
        self._stopped = asyncio.Event()
        self._task = asyncio.create_task(self._expose())

    async def wait(self) -> None:
        """Wait until all frames are written.

        Raises
        ------
        FrameFileError
            If the disk is full.
        """
        if self._task is not None:
            await self._task

    async def stop(self) -> None:
        """End before the next frame is written."""
        self._stopped.set()
        if self._task is not None:
            # What it failed with was raised to whom waited for it.
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def close(self) -> None:
        await self.stop()
        if self._file is not None:
            self._file.close()
            self._file = None

    async def _expose(self) -> None:
        for _ in range(self.num):
            started = time.monotonic()
            truth = Truth(
                **asdict(self.sample.illuminate()),
                noise_seed=int(self._noise_seeds.integers(LARGEST_SEED + 1)),
                exposure_time=self.exposure_time,
            )
            # On a thread of its own, so that the RunEngine's loop is free meanwhile.
            frame = await asyncio.to_thread(
                simulate_frame,
                truth,
                self.grid,
                self.response,
                self.nominal_exposure_time,
                world=self.world,
            )
            if await self._is_stopped(truth.exposure_time - (time.monotonic() - started)):
                return
            values = {_truth_dataset(field): value for field, value in asdict(truth).items()}
            if self._file is None:
                raise RuntimeError("the file is not open: prepare the detector before it is triggered")
            await asyncio.to_thread(self._file.append, frame, time.time(), values)
            self._set_frames_written(len(self._file))
            if await self._is_stopped(self.dead_time):
                return

    async def _is_stopped(self, seconds: float) -> bool:
        """Wait, but no longer than until the detector is stopped."""
        try:
            await asyncio.wait_for(self._stopped.wait(), max(seconds, 0.0))
        except TimeoutError:
            return False
        return True


class _TriggerLogic(DetectorTriggerLogic):
    def __init__(self, camera: _Camera, exposure_time: SignalR[float]) -> None:
        self._camera, self._exposure_time = camera, exposure_time

    async def prepare_internal(self, num: int, livetime: float, deadtime: float) -> None:
        self._camera.num = num or 2**62  # 0 stands for without end
        self._camera.exposure_time = livetime or await self._exposure_time.get_value()
        self._camera.dead_time = deadtime

    async def default_trigger_info(self) -> TriggerInfo:
        return TriggerInfo()


class _AcquireLogic(DetectorAcquireLogic):
    def __init__(self, camera: _Camera) -> None:
        self._camera = camera

    async def start_acquiring(self) -> None:
        self._camera.start()

    async def wait_for_idle(self) -> None:
        await self._camera.wait()

    async def ensure_stopped(self) -> None:
        await self._camera.stop()


class _Provider(StreamResourceDataProvider):
    """Describes the truth by its own types: ophyd-async takes every scalar for a number."""

    async def make_datakeys(self, collections_per_event: int) -> dict[str, DataKey]:
        keys = await super().make_datakeys(collections_per_event)
        for key, spec in keys.items():
            kind = _TRUTH.get(key.rpartition("-truth_")[2])
            if kind is not None and collections_per_event == 1:
                spec["dtype"] = kind["dtype"]
            if kind is not None and "units" in kind:
                spec["units"] = kind["units"]
        return keys


class _DataLogic(DetectorDataLogic):
    def __init__(self, camera: _Camera, path_provider: PathProvider) -> None:
        self._camera, self._path_provider = camera, path_provider

    async def prepare_unbounded(self, datakey_name: str) -> StreamResourceDataProvider:
        info = self._path_provider(datakey_name)
        self._camera.open(Path(info.directory_path) / f"{info.filename}.h5")
        shape = self._camera.grid.shape
        frames = StreamResourceInfo(
            data_key=datakey_name,
            shape=shape,
            chunk_shape=(1, *shape),
            dtype_numpy=np.dtype(self._camera.response.dtype).str,
            parameters={"dataset": FRAME_DATASET, "timestamps": TIMESTAMP_DATASET, "swmr": True},
        )
        truth = [
            StreamResourceInfo(
                data_key=f"{datakey_name}-truth_{field}",
                shape=(),
                chunk_shape=(512,),
                dtype_numpy=spec["dtype_numpy"],
                parameters={"dataset": _truth_dataset(field), "swmr": True},
            )
            for field, spec in _TRUTH.items()
        ]
        return _Provider(
            uri=f"{info.directory_uri}{info.filename}.h5",
            resources=[frames, *truth],
            mimetype="application/x-hdf5",
            collections_written_signal=self._camera.frames_written,
        )

    async def stop(self) -> None:
        await self._camera.close()

    def get_hinted_fields(self, datakey_name: str) -> Sequence[str]:
        return [f"{datakey_name}-truth_disk_number"]


class AsyncSpeckleDetector(StandardDetector):
    """A camera that looks at a :class:`~simulated_devices.sample.SpeckleSample`.

    Its frames are under its own name, the truth about them under `NAME-truth_disk_number` and so on.
    It steps, flies (``prepare(TriggerInfo(number_of_events=...))``), and takes several frames for a point
    (``TriggerInfo(collections_per_event=...)``).

    Parameters
    ----------
    path_provider : PathProvider
        Where its files go.
    sample : SpeckleSample
        What it looks at.
    grid : PixelGrid, optional
        Where its pixels look; by default a quadrant of 257 x 257.
    response : DetectorResponse, optional
        Its noise and defects; by default it has none.
    world : World, optional
        What particles and beam are like; by default disks at rest in coherent light.
    exposure_time : float
        Seconds per frame, unless `TriggerInfo.livetime` states them.
    nominal_exposure_time : float
        Seconds in which a frame collects `response.photons` photons.
    seed : int, optional
        Of the noise. By default one is drawn. The seed of each frame is stored with it.
    name : str

    Raises
    ------
    ValueError
        If a time is out of its range.
    """

    def __init__(
        self,
        path_provider: PathProvider,
        sample: SpeckleSample,
        *,
        grid: PixelGrid | None = None,
        response: DetectorResponse | None = None,
        world: World | None = None,
        exposure_time: float = 0.0,
        nominal_exposure_time: float = 1.0,
        seed: int | None = None,
        name: str = "",
    ) -> None:
        if not non_negative(nominal_exposure_time):
            raise ValueError("nominal_exposure_time must be above 0 s, not 0")
        grid, response, world = grid or quadrant(), response or DetectorResponse(), world or World()
        camera = _Camera(sample, grid, response, world, float(nominal_exposure_time), seed)
        self.exposure_time = soft_signal_rw(float, non_negative(exposure_time), units="s")
        self.beam_center, _ = soft_signal_r_and_setter(Array1D[np.float64], np.array(grid.beam_center, float))
        self.grid_shape, _ = soft_signal_r_and_setter(Array1D[np.int64], np.array(grid.shape, np.int64))
        self.pitch, _ = soft_signal_r_and_setter(float, grid.pitch)
        level = response.effective_saturation_level
        self.saturation_level, _ = soft_signal_r_and_setter(float, float(level))
        self.nominal_exposure_time, _ = soft_signal_r_and_setter(float, float(nominal_exposure_time))
        self.frames_per_trigger, _ = soft_signal_r_and_setter(int, 1)
        self.response, _ = soft_signal_r_and_setter(str, json.dumps(response.to_dict(), sort_keys=True))
        self.world, _ = soft_signal_r_and_setter(str, json.dumps(world.to_dict(), sort_keys=True))
        self.sample_map, _ = soft_signal_r_and_setter(str, json.dumps(sample.map.to_dict(), sort_keys=True))
        self.add_detector_logics(
            _TriggerLogic(camera, self.exposure_time),
            _AcquireLogic(camera),
            _DataLogic(camera, path_provider),
        )
        self.add_config_signals(
            self.exposure_time,
            self.beam_center,
            self.grid_shape,
            self.pitch,
            self.saturation_level,
            self.nominal_exposure_time,
            self.frames_per_trigger,
            self.response,
            self.world,
            self.sample_map,
        )
        super().__init__(name=name)
