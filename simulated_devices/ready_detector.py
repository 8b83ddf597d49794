"""A detector whose frames are in files before it measures, for benchmarks.

A real detector makes its frames on another machine; one that simulates them takes the cores that are
measured.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

from simulated_devices.detector import SpeckleDetector
from simulated_devices.detector_response import DetectorResponse
from simulated_devices.disks import draw_system
from simulated_devices.frame_files import write_frames
from simulated_devices.grids import quadrant
from simulated_devices.sample import SpeckleSample
from simulated_devices.sample_map import SampleMap
from simulated_devices.scattering import intensity

if TYPE_CHECKING:
    from simulated_devices.exposures import Truth

__all__ = ["SEED", "ReadyDetector", "make_ready_detector", "sample_frames"]

SEED = 1
"""Of the frames, so that each measurement has the same ones."""


class ReadyDetector(SpeckleDetector):
    """Makes no frames while it measures: each exposure is another name of a file that was written before.

    So it leaves the processor to what is measured, as a real detector does, whose frames come from
    another machine. Their truth is not that of their events.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._ready: dict[int, Path] = {}

    def make_ready(self, frames: int) -> None:
        """Write the file of an exposure with this number of frames, 64 different ones of equal disks."""
        if frames not in self._ready:
            shape = (frames, *self.grid.shape)
            images = itertools.islice(itertools.cycle(sample_frames(min(64, frames), shape[1])), frames)
            path = self.data_directory / f"{self.name}-ready-{frames}.h5"
            write_frames(path, images, shape, self.response.dtype)
            self._ready[frames] = path

    def _write(self, path: Path, truth: Truth, frames: int) -> None:
        self.make_ready(frames)
        os.link(self._ready[frames], path)


def make_ready_detector(directory: Path | str, name: str, size: int = 257, **settings: Any) -> ReadyDetector:
    """Make a detector whose frames are ready in files, in a folder."""
    return ReadyDetector(
        name=name,
        sample=SpeckleSample(name=f"{name}_sample", sample_map=SampleMap(), seed=SEED),
        grid=quadrant(size),
        response=DetectorResponse(dtype="float32"),
        data_directory=directory,
        seed=SEED,
        **settings,
    )


def sample_frames(count: int, size: int = 257, dtype: DTypeLike = np.float32) -> NDArray[Any]:
    """Make frames of equal disks, shape (count, size, size)."""
    rng = np.random.default_rng(SEED)
    grid = quadrant(size)
    frames = np.stack([intensity(draw_system("mono", 2 + i % 19, rng), grid) for i in range(count)])
    if np.dtype(dtype).kind == "u":
        frames = frames / frames.max() * np.iinfo(dtype).max
    return frames.astype(dtype)
