"""The camera of the IOC: its records, and its frames of a simulated sample."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import Any

import numpy as np
from caproto import ChannelData
from numpy.typing import NDArray

from simulated_devices.detector_response import DetectorResponse
from simulated_devices.exposures import Truth, simulate_frame
from simulated_devices.grids import PixelGrid
from simulated_devices.ioc.files import DISABLE_ENABLE, NO_YES, VERSION, FilePlugin, add_array_records
from simulated_devices.ioc.records import Records
from simulated_devices.sample import LARGEST_SEED, SpeckleSample

__all__ = ["SoftAreaDetector"]

STATES = tuple(
    "Idle Acquire Readout Correct Saving Aborting Error Waiting Initializing Disconnected Aborted".split()
)
"""Of areaDetector, in the order of its enumeration."""


class SoftAreaDetector:
    """A camera `cam1:` with the plugins `HDF1:`, `TIFF1:` and `image1:`.

    Beside the records of an areaDetector there are `sample:X` and `sample:Y`, the position of the sample
    in mm, and `cam1:TruthDiskNumber_RBV`, the true disk number of the last frame.

    Parameters
    ----------
    prefix : str
        Of all records.
    sample : SpeckleSample
        What it looks at.
    grid : PixelGrid
        Where its pixels look.
    response : DetectorResponse
        Its noise and defects; frames are of the type `uint16`.
    seed : int, optional
        Of the noise.

    Attributes
    ----------
    database : dict
        All records by their names, for a server.
    """

    def __init__(
        self,
        prefix: str,
        sample: SpeckleSample,
        grid: PixelGrid,
        response: DetectorResponse,
        seed: int | None = None,
    ) -> None:
        self.database: dict[str, ChannelData] = {}
        self._sample, self._grid, self._response = sample, grid, response
        self._noise_seeds = np.random.default_rng(seed)
        self._going = False
        self._camera = self._camera_records(f"{prefix}cam1:")
        self._position = Records(f"{prefix}sample:", self.database)
        for name, stage in (("X", sample.x), ("Y", sample.y)):
            self._position.pair(name, float(stage.position))
        self._image = Records(f"{prefix}image1:", self.database)
        add_array_records(self._image, grid.shape, "Image1")
        self._image.pair("EnableCallbacks", "Enable", DISABLE_ENABLE)
        self._image.setting("ArrayData", np.zeros(np.prod(grid.shape), np.int32))
        self._files = [
            FilePlugin(f"{prefix}{name}:", self.database, grid.shape, kind)
            for name, kind in (("HDF1", "HDF5"), ("TIFF1", "TIFF"))
        ]

    def _camera_records(self, prefix: str) -> Records:
        records = Records(prefix, self.database)
        rows, columns = self._grid.shape
        add_array_records(records, self._grid.shape, "CAM1")
        for name, number in {"SizeX": columns, "SizeY": rows, "NumImages": 1, "NumExposures": 1}.items():
            records.pair(name, number)
        for name, value in {"AcquireTime": 0.01, "AcquirePeriod": 0.02, "GainX": 1.0, "GainY": 1.0}.items():
            records.pair(name, value)
        for name, count in {"NDimensions": 2, "ArraySize": 0, "NumImagesCounter": 0}.items():
            records.readback(name, count)
        for name in ("DataType_RBV.DISA", "PoolUsedMem"):
            records.setting(name, 0)
        records.readback("TruthDiskNumber", 0)
        records.pair("SimMode", "Peaks", ("LinearRamp", "Peaks", "Sine", "Offset&Noise"))
        records.pair("ImageMode", "Single", ("Single", "Multiple", "Continuous"))
        records.pair("TriggerMode", "Internal", ("Internal", "External"))
        records.readback("DetectorState", "Idle", STATES)
        records.pair("Acquire", "Done", ("Done", "Acquire"))
        records.setting("WaitForPlugins", "No", NO_YES)
        records.pair("ArrayCallbacks", "Enable", DISABLE_ENABLE)
        texts = {"Manufacturer": "Speckle", "Model": "Simulated sample", "SerialNumber": "0"}
        for name, text in {**texts, "SDKVersion": "0", "FirmwareVersion": VERSION}.items():
            records.readback(name, text)
        records["Acquire"].on_put = self._acquire
        return records

    async def _acquire(self, value: str) -> None:
        """Take frames; the put of `Acquire` is done when all are taken."""
        records = self._camera
        if value == "Done":
            self._going = False
            await records["DetectorState"].set("Aborted")
            return
        if self._going:
            return
        self._going = True
        await records["DetectorState"].set("Acquire")
        counts = {"Single": 1, "Multiple": records("NumImages")}
        count, mode = 0, records("ImageMode")
        while self._going and count < counts.get(mode, count + 1):
            await asyncio.sleep(max(records("AcquireTime"), records("AcquirePeriod")))
            if self._going:
                await self._take_frame()
            count += 1
            await records["NumImagesCounter"].set(count)
        self._going = False
        await records["DetectorState"].set("Idle")
        await records["Acquire"].set("Done")

    async def _take_frame(self) -> None:
        self._sample.x.set(self._position("X")).wait()
        self._sample.y.set(self._position("Y")).wait()
        truth = Truth(
            **asdict(self._sample.illuminate()),
            noise_seed=int(self._noise_seeds.integers(LARGEST_SEED + 1)),
            exposure_time=0.0,
        )
        frame: NDArray[Any] = await asyncio.to_thread(simulate_frame, truth, self._grid, self._response, 1.0)
        await self._camera["TruthDiskNumber"].set(truth.disk_number)
        await self._camera["ArrayCounter"].set(self._camera("ArrayCounter") + 1)
        if self._camera("ArrayCallbacks") != "Enable":
            return
        for plugin in self._files:
            await plugin.take(frame)
        if self._image("EnableCallbacks") == "Enable":
            await self._image["ArrayData"].set(frame.reshape(-1).astype(np.int32))
