"""How disks, spheres and squares scatter: physics that simulated devices and structure solution share."""

from speckle_plugin.scattering.coherence import partially_coherent
from speckle_plugin.scattering.compilation import compiled
from speckle_plugin.scattering.derivatives import (
    Pixels,
    amplitude_at,
    intensity_and_derivatives,
    intensity_at,
)
from speckle_plugin.scattering.grids import BOX_LENGTH, PITCH, PixelGrid
from speckle_plugin.scattering.intensity import intensity_of_disks, intensity_of_spheres
from speckle_plugin.scattering.shapes import DEFORMATIONS, derivatives_by_shape
from speckle_plugin.scattering.squares import intensity_of_squares

__all__ = [
    "BOX_LENGTH",
    "DEFORMATIONS",
    "PITCH",
    "PixelGrid",
    "Pixels",
    "amplitude_at",
    "compiled",
    "derivatives_by_shape",
    "intensity_and_derivatives",
    "intensity_at",
    "intensity_of_disks",
    "intensity_of_spheres",
    "intensity_of_squares",
    "partially_coherent",
]
