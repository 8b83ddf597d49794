"""A file plugin of an areaDetector: its records, and the HDF5 or TIFF files that it writes."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import tifffile
from caproto import ChannelData
from numpy.typing import NDArray

from simulated_devices.frame_files import FRAME_DATASET
from simulated_devices.ioc.records import Records

__all__ = ["FilePlugin", "add_array_records"]

OFF_ON, NO_YES, DISABLE_ENABLE = ("Off", "On"), ("No", "Yes"), ("Disable", "Enable")
COMPRESSIONS = ("None", "N-bit", "szip", "zlib", "Blosc", "BSLZ4", "LZ4", "JPEG")
COLOR_MODES = ("Mono", "Bayer", "RGB1", "RGB2", "RGB3", "YUV444", "YUV422", "YUV421")
DATA_TYPES = tuple(f"{kind}{size}" for size in (8, 16, 32, 64) for kind in ("Int", "UInt")) + (
    "Float32",
    "Float64",
)
VERSION = "3.14.0"


def add_array_records(records: Records, shape: tuple[int, int], port: str) -> None:
    """Add what a camera and every plugin say of the array that they hand on."""
    rows, columns = shape
    records.readback("PortName", port)
    records.readback("UniqueId", 0)
    records.setting("NDAttributesFile", "")
    sizes = {"ArraySizeX": columns, "ArraySizeY": rows, "ArraySizeZ": 0, "ArraySize2": 0}
    for name, value in sizes.items():
        records.readback(name, value)
    records.pair("ArraySize0", columns)
    records.pair("ArraySize1", rows)
    records.pair("ArrayCounter", 0)
    records.pair("ColorMode", "Mono", COLOR_MODES)
    records.pair("DataType", "UInt16", DATA_TYPES)
    records.readback("ADCoreVersion", VERSION)
    records.readback("DriverVersion", VERSION)


class FilePlugin:
    """NDFileHDF5 or NDFileTIFF.

    While `Capture` is on, frames go to one file, which stays open: locked, or in SWMR mode. In the mode
    `Single` with `AutoSave`, each frame is a closed file of its own.

    Parameters
    ----------
    prefix : str
        Of its records.
    database : dict
        The IOC's records, to which its own are added.
    shape : tuple of int
        Rows and columns of a frame.
    kind : {"HDF5", "TIFF"}
    """

    def __init__(
        self, prefix: str, database: dict[str, ChannelData], shape: tuple[int, int], kind: str
    ) -> None:
        self.records = records = Records(prefix, database)
        self._kind = kind
        self._file: h5py.File | None = None
        self._ended = asyncio.Event()
        add_array_records(records, shape, f"File{kind}1")
        records.readback("PluginType", f"NDFile{kind} ver{VERSION}")
        suffix = "h5" if kind == "HDF5" else "tiff"
        texts = {"FilePath": "./", "FileName": "", "FileTemplate": f"%s%s_%6.6d.{suffix}", "XMLFileName": ""}
        for name, text in texts.items():
            records.pair(name, text)
        records.readback("FullFileName", "")
        records.readback("FilePathExists", "Yes", NO_YES)
        numbers = {
            "FileNumber": 0,
            "NumCapture": 1,
            "CreateDirectory": 0,
            "NDArrayAddress": 0,
            "QueueSize": 20,
        }
        numbers |= {"NumExtraDims": 0, "NumFramesChunks": 1, "NumFramesFlush": 1}
        for name, number in numbers.items():
            records.pair(name, number)
        records.readback("NumCaptured", 0)
        switches = {"AutoIncrement": "Yes", "AutoSave": "No", "BlockingCallbacks": "No"}
        switches |= {"ChunkSizeAuto": "No", "LazyOpen": "No"}
        for name, switch in switches.items():
            records.pair(name, switch, NO_YES)
        records.pair("EnableCallbacks", "Enable", DISABLE_ENABLE)
        records.pair("FileWriteMode", "Stream", ("Single", "Capture", "Stream"))
        records.pair("Capture", "Done", ("Done", "Capture"))
        records.pair("NDArrayPort", "CAM1", short=True)
        records.pair("PositionMode", "Off", OFF_ON)
        records.pair("Compression", "None", COMPRESSIONS)
        records.pair("SWMRMode", "Off", OFF_ON)
        records.setting("FlushNow", "Done", ("Done", "Flush"))
        records["FilePath"].on_put = self._look_for_path
        records["Capture"].on_put = self._capture

    async def take(self, frame: NDArray[Any]) -> None:
        """Write a frame, if it is to be written."""
        records = self.records
        await records["ArrayCounter"].set(records("ArrayCounter") + 1)
        if records("EnableCallbacks") != "Enable":
            return
        if records("Capture") == "Capture":
            await self._append(frame)
        elif records("FileWriteMode") == "Single" and records("AutoSave") == "Yes":
            await self._write_single(frame)

    async def _look_for_path(self, path: str) -> None:
        await self.records["FilePathExists"].set("Yes" if os.path.isdir(path) else "No")

    def _next_path(self) -> Path:
        path, name = self.records("FilePath"), self.records("FileName")
        template = self.records("FileTemplate")
        number = (self.records("FileNumber"),) if template.count("%") > 2 else ()
        return Path(template % (os.path.join(path, ""), name, *number))

    async def _begin_file(self) -> Path:
        path = self._next_path()
        await self.records["FullFileName"].set(str(path))
        if self.records("AutoIncrement") == "Yes":
            await self.records["FileNumber"].set(self.records("FileNumber") + 1)
        return path

    async def _write_single(self, frame: NDArray[Any]) -> None:
        path = await self._begin_file()
        if self._kind == "TIFF":
            tifffile.imwrite(path, frame)
            return
        with h5py.File(path, "w") as file:
            file[FRAME_DATASET] = frame[np.newaxis]

    async def _append(self, frame: NDArray[Any]) -> None:
        if self._file is None:
            await self._open(frame.shape, frame.dtype)
        if self._file is None:
            return
        dataset = self._file[FRAME_DATASET]
        count = len(dataset) + 1
        dataset.resize(count, axis=0)
        dataset[-1] = frame
        if self.records("SWMRMode") == "On":
            dataset.flush()
        await self.records["NumCaptured"].set(count)
        if 0 < self.records("NumCapture") <= count:
            await self._end_capture()

    async def _open(self, shape: tuple[int, ...], dtype: Any) -> None:
        path = await self._begin_file()
        swmr = self.records("SWMRMode") == "On"
        self._file = h5py.File(path, "w", libver="latest" if swmr else None, locking=True)
        self._file.create_dataset(
            FRAME_DATASET, (0, *shape), dtype, maxshape=(None, *shape), chunks=(1, *shape)
        )
        if swmr:
            self._file.swmr_mode = True
        else:
            self._file.flush()

    async def _capture(self, value: str) -> None:
        """Begin or end a file; the put of `Capture` is done when the file is closed."""
        if value == "Done":
            await self._end_capture()
            return
        if self.records("CreateDirectory"):
            os.makedirs(self.records("FilePath"), exist_ok=True)
        self._ended.clear()
        await self.records["NumCaptured"].set(0)
        if self.records("FileWriteMode") == "Stream" and self.records("LazyOpen") == "No":
            shape = (self.records("ArraySize1"), self.records("ArraySize0"))
            await self._open(shape, np.dtype(self.records("DataType").lower()))
        await self._ended.wait()

    async def _end_capture(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        await self.records["Capture"].set("Done")
        self._ended.set()
