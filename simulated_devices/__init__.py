"""Disks in a box, the speckle patterns they scatter, and Ophyd devices that measure them."""

from simulated_devices.disks import DISK_NUMBERS, DiskSystem, Family, draw_radii, draw_system
from simulated_devices.grids import PixelGrid, centered, grid_by_name, published, quadrant
from simulated_devices.scattering import intensity

__all__ = [
    "DISK_NUMBERS",
    "DiskSystem",
    "Family",
    "PixelGrid",
    "centered",
    "draw_radii",
    "draw_system",
    "grid_by_name",
    "intensity",
    "published",
    "quadrant",
]
