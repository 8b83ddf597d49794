"""The project's IOC in a process of its own, and classic ophyd devices for its records."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from typing import Any

PREFIX = "TEST:"


class Ioc:
    """An IOC on loopback, on a port of its own; ophyd's clients are told by the environment."""

    def __init__(self, pixels: int = 65) -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as made:
            made.bind(("127.0.0.1", 0))
            port = made.getsockname()[1]
        self.environment = {
            "EPICS_CA_SERVER_PORT": str(port),
            "EPICS_CAS_SERVER_PORT": str(port),
            "EPICS_CA_ADDR_LIST": "127.0.0.1",
            "EPICS_CA_AUTO_ADDR_LIST": "NO",
            "EPICS_CAS_BEACON_ADDR_LIST": "",
            "EPICS_CAS_AUTO_BEACON_ADDR_LIST": "NO",
        }
        command = [sys.executable, "-m", "simulated_devices.ioc", "--prefix", PREFIX, "--seed", "5"]
        self.process = subprocess.Popen(
            [*command, "--pixels", str(pixels)],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | self.environment | {"PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("serving"), "the IOC did not start"

    def close(self) -> None:
        """End it, as if it crashed."""
        self.process.kill()
        self.process.wait()
        if self.process.stdout is not None:
            self.process.stdout.close()


def make_detector(plugin: str, frames_directory: str, *, swmr: bool = False, num_images: int = 1) -> Any:
    """Make a classic AreaDetector as beamlines write it, with one file plugin.

    Parameters
    ----------
    plugin : {"hdf5", "hdf5_single", "tiff"}
    """
    from ophyd import Component, Device, EpicsSignal, EpicsSignalRO
    from ophyd.areadetector import ADComponent, DetectorBase, SimDetectorCam
    from ophyd.areadetector.filestore_mixins import (
        FileStoreHDF5IterativeWrite,
        FileStoreHDF5SingleIterativeWrite,
        FileStoreTIFFIterativeWrite,
    )
    from ophyd.areadetector.plugins import HDF5Plugin_V34, TIFFPlugin_V34
    from ophyd.areadetector.trigger_mixins import SingleTrigger

    class Camera(SimDetectorCam):
        pool_max_buffers = None

    class Hdf5(HDF5Plugin_V34, FileStoreHDF5IterativeWrite):
        pass

    class Hdf5Single(HDF5Plugin_V34, FileStoreHDF5SingleIterativeWrite):
        pass

    class Tiff(TIFFPlugin_V34, FileStoreTIFFIterativeWrite):
        pass

    kind, suffix = {
        "hdf5": (Hdf5, "HDF1:"),
        "hdf5_single": (Hdf5Single, "HDF1:"),
        "tiff": (Tiff, "TIFF1:"),
    }[plugin]

    class Position(Device):
        x = Component(EpicsSignal, "X_RBV", write_pv="X", kind="hinted")

    class Detector(SingleTrigger, DetectorBase):
        cam = ADComponent(Camera, "cam1:")
        file = ADComponent(kind, suffix, write_path_template=frames_directory, root="/")
        sample = Component(Position, "sample:")
        truth_disk_number = Component(EpicsSignalRO, "cam1:TruthDiskNumber_RBV", kind="normal")

    detector = Detector(PREFIX, name="det")
    detector.wait_for_connection(timeout=20)
    detector.read_attrs = ["file", "truth_disk_number"]
    detector.file.read_attrs = []
    detector.cam.stage_sigs.update(image_mode="Multiple", num_images=num_images)
    detector.cam.stage_sigs.update(acquire_time=0.01, acquire_period=0.15)
    if swmr:
        detector.file.stage_sigs.update(swmr_mode=1, num_frames_flush=1)
        detector.file.stage_sigs.move_to_end("capture")
    return detector
