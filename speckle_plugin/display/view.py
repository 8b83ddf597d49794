"""What the figure shows, as it goes from the session to the process that draws.

The session sends an :class:`Update` a few times a second; the other process adds it to its
:class:`ScanView`. Only what is new is sent, and a newer picture takes the place of one not yet sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.display.course import Course

__all__ = ["MOST_POINTS", "Picture", "Point", "Progress", "ScanHead", "ScanView", "Update"]

MOST_POINTS = 50_000
"""Frames of a run that are drawn; of a longer one the last."""


@dataclass(frozen=True)
class ScanHead:
    """What holds for all frames of a run.

    Parameters
    ----------
    uid : str
    title : str
    course : Course
    classes : tuple of int
        Disk numbers that the network tells apart; empty without a network.
    model : str
        Name, version and engine of the network.
    started : float
        Seconds since the epoch.
    """

    uid: str
    title: str
    course: Course
    classes: tuple[int, ...]
    model: str
    started: float


class Point(NamedTuple):
    """The result of one frame. `x` and `y` are its positions, NaN where they are not known."""

    image_key: str
    frame_index: int
    taken: float
    x: float
    y: float
    disk_number: int
    confidence: float
    status: str
    flags: str


@dataclass(frozen=True, eq=False)
class Picture:
    """The newest frame, thinned, with its result.

    Parameters
    ----------
    image_key, frame_index
        Which frame it is.
    pixels : array, shape (rows, columns), float32
        NaN where a pixel is masked, or the detector marks it as without a value.
    step : int
        Every how many-th row and column was taken.
    center : (row, column) or None
        Where the beam is, in pixels of the detector; None if nobody says it.
    k_step : float or None
        Wave number per pixel, if the detector states it.
    status, disk_number, confidence, flags
        As in the result.
    probabilities : array, shape (classes,)
    """

    image_key: str
    frame_index: int
    pixels: NDArray[np.float32]
    step: int
    center: tuple[float, float] | None
    k_step: float | None
    status: str
    disk_number: int
    confidence: float
    flags: str
    probabilities: NDArray[np.float32]


@dataclass(frozen=True)
class Progress:
    """How far the run is, and how the classification keeps up.

    Parameters
    ----------
    count : int
        Frames with a result.
    waiting : int
        Frames that wait for the network.
    waited : float
        Seconds that the oldest of them has waited.
    latency : float
        Seconds from the newest result's frame to its label; 0 if that is not known.
    ended : str
        What became of the run; empty while it goes on.
    """

    count: int = 0
    waiting: int = 0
    waited: float = 0.0
    latency: float = 0.0
    ended: str = ""


@dataclass(frozen=True, eq=False)
class Update:
    """What is new. With a `head` a run begins, and what was shown before is forgotten."""

    head: ScanHead | None = None
    points: Sequence[Point] = ()
    picture: Picture | None = None
    progress: Progress = Progress()


@dataclass(eq=False)
class ScanView:
    """What is to be seen of the newest run."""

    head: ScanHead | None = None
    points: deque[Point] = field(default_factory=lambda: deque(maxlen=MOST_POINTS))
    picture: Picture | None = None
    progress: Progress = Progress()

    def add(self, update: Update) -> None:
        """Take what is new."""
        if update.head is not None:
            self.head, self.picture = update.head, None
            self.points.clear()
        self.points.extend(update.points)
        self.picture = update.picture or self.picture
        self.progress = update.progress

    def copy(self) -> ScanView:
        """Give one that later updates do not change."""
        return ScanView(self.head, deque(self.points, MOST_POINTS), self.picture, self.progress)
