"""The intensity that a disk system scatters; its physics is that of `speckle_plugin.scattering`."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from simulated_devices.disks import DiskSystem
from speckle_plugin.scattering import PixelGrid, intensity_of_disks

__all__ = ["intensity"]


def intensity(system: DiskSystem, grid: PixelGrid) -> NDArray[np.float64]:
    """Compute the scattered intensity of a disk system on a pixel grid.

    Parameters
    ----------
    system : DiskSystem
        The disks. Position component 0 goes with the rows of the frame.
    grid : PixelGrid
        Where each pixel looks.

    Returns
    -------
    array, shape `grid.shape`, float64
        ``|F(k)|^2`` in (units of the box)^4; at k = 0 it is ``(pi sum r_i^2)^2``.
    """
    return intensity_of_disks(system.positions, system.radii, grid)
