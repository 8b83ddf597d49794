"""Disks in a box, the speckle patterns they scatter, and Ophyd devices that measure them."""

from simulated_devices.detector import SpeckleDetector
from simulated_devices.detector_response import DetectorResponse
from simulated_devices.disks import DISK_NUMBERS, DiskSystem, Family, draw_radii, draw_system
from simulated_devices.exposures import Truth, regenerate_frame, simulate_frame
from simulated_devices.fly_detector import FlySpeckleDetector
from simulated_devices.frame_files import FRAME_DATASET, FrameFileError
from simulated_devices.grids import PixelGrid, centered, grid_by_name, published, quadrant
from simulated_devices.sample import Illumination, SpeckleSample
from simulated_devices.sample_map import MapShape, SampleMap
from simulated_devices.scattering import intensity
from simulated_devices.stages import SampleStage
from simulated_devices.world import Shape, World, draw_intensity

__all__ = [
    "DISK_NUMBERS",
    "FRAME_DATASET",
    "DetectorResponse",
    "DiskSystem",
    "Family",
    "FlySpeckleDetector",
    "FrameFileError",
    "Illumination",
    "MapShape",
    "PixelGrid",
    "SampleMap",
    "SampleStage",
    "Shape",
    "SpeckleDetector",
    "SpeckleSample",
    "Truth",
    "World",
    "centered",
    "draw_intensity",
    "draw_radii",
    "draw_system",
    "grid_by_name",
    "intensity",
    "published",
    "quadrant",
    "regenerate_frame",
    "simulate_frame",
]
