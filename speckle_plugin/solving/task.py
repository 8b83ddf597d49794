"""What a solving process is given, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numpy.typing import NDArray

from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import SolveSettings, Structure

__all__ = ["Answer", "SolveTask"]


@dataclass(frozen=True, eq=False)
class SolveTask:
    """One frame to be solved.

    Parameters
    ----------
    frame : array, shape (rows, columns)
        As the detector gave it.
    geometry : FrameGeometry
    k_step : float
        Wave number between neighbouring pixels.
    settings : SolveSettings
    """

    frame: NDArray[Any]
    geometry: FrameGeometry
    k_step: float
    settings: SolveSettings = field(default_factory=SolveSettings)


class Answer(NamedTuple):
    """A structure, or why there is none."""

    structure: Structure | None
    error: str = ""
