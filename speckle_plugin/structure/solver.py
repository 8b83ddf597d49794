"""From a frame to its disks: the steps in their order."""

from __future__ import annotations

import time
from collections.abc import Callable

from numpy.typing import ArrayLike

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure.answer import answer, no_answer
from speckle_plugin.structure.observation import Undecidable, observe
from speckle_plugin.structure.search import Search
from speckle_plugin.structure.settings import SolveSettings
from speckle_plugin.structure.structure import Structure

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
        Counts or intensities. NaN, negative values and the largest value of an integer dtype count as
        masked.
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
    begun = clock()
    try:
        observation = observe(frame, geometry, k_step, settings)
    except Undecidable as why:
        return no_answer(str(why), geometry, k_step, settings, clock() - begun)
    if settings.budget == 0:
        return no_answer("the budget of time is 0", geometry, k_step, settings, clock() - begun)
    search = Search(observation, settings, clock)
    found = search.run()
    if found is None:
        return no_answer("no start showed a disk", geometry, k_step, settings, clock() - begun)
    how = (search.out_of_time, clock() - begun, search.starts, tuple(search.history))
    return answer(found, settings, *how)
