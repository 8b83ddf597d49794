"""From a frame to its disks: the steps in their order."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure.settings import SolveSettings
from speckle_plugin.structure.structure import Certificate, Structure

__all__ = ["solve"]

DEFAULTS = SolveSettings()


def solve(
    frame: ArrayLike,
    geometry: FrameGeometry,
    k_step: float,
    settings: SolveSettings = DEFAULTS,
    clock: Callable[[], float] = time.perf_counter,
) -> Structure:
    """Find the disks that scatter a frame.

    Parameters
    ----------
    frame : array, shape `geometry.shape`
        Counts or intensities. NaN, negative values, and the largest value of an integer dtype count as masked.
    geometry : FrameGeometry
        Shape, beam centre (row and column of k = 0, which may be fractional) and mask (True is left out).
    k_step : float
        Wave number between neighbouring pixels; radii and positions come in its inverse unit.
    settings : SolveSettings
        Noise, point spread, what is known of the radii, seed, budget of time.
    clock : callable
        Gives the time in seconds; for the budget.

    Returns
    -------
    Structure
        Also of a frame that cannot be solved: its certificate and reason say so.

    Raises
    ------
    ValueError
        If the frame is not of two dimensions or not of the geometry's shape, k_step is no positive number,
        or the beam centre is farther off the frame than its blocked centre.
    """
    nothing = np.empty(0)
    return Structure(
        nothing, nothing, nothing, nothing, nothing, nothing, Certificate.UNDECIDED, "not built yet", 0.0, 0.0,
        geometry.beam_center, k_step, settings.point_spread, np.nan, np.nan, np.nan, np.nan, np.nan, 0.0, 0, (),
        settings.seed,
    )  # fmt: skip
