"""The picture of the live figure: a real scan, and the last image that its drawing process made.

Run it with ``python docs/pictures/live_figure.py``: it scans a simulated sample with a mask over the beam
stop, and writes ``docs/pictures/live_figure.webp``.
"""

from __future__ import annotations

import argparse
import io
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from simulated_devices import DetectorResponse, SampleMap, SpeckleDetector, SpeckleSample, centered
from speckle_plugin import start_session
from speckle_plugin.display import LiveFigure
from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.plans import classify_grid_scan

POINTS, SEED = 8, 8
PATIENCE = 5.0
"""Seconds without a new image after which the figure has nothing more to draw."""

STOP = 9
"""Half the edge of the beam stop, in pixels."""

GAP = slice(330, 340)
"""Columns between two modules of the detector."""


class _Images:
    """Keeps the newest image of the figure."""

    def __init__(self) -> None:
        self.newest = b""

    def begin(self) -> None:
        """Take notice of a run."""

    def show(self, png: bytes) -> None:
        """Take an image."""
        self.newest = png


def main() -> None:
    """Scan, and keep what was drawn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("live_figure.webp"))
    out: Path = parser.parse_args().out
    grid = centered()
    row, column = (round(place) for place in grid.beam_center)
    mask = np.zeros(grid.shape, bool)
    mask[row - STOP : row + STOP + 1, column - STOP : column + STOP + 1] = True
    mask[:, GAP] = True
    frames, images = FrameSettings(masks={"det_image": mask}), _Images()
    with (
        tempfile.TemporaryDirectory() as folder,
        start_session(folder, profile="", table=False, frames=frames, live_figure="none") as session,
    ):
        figure = LiveFigure("inline", session.live.backlog, images=images)
        session.live.subscribe(figure)
        session.live.watch(figure.see)
        sample_map = SampleMap("patches", seed=SEED, parts=14)
        sample = SpeckleSample(name="sample", sample_map=sample_map, family="poly", seed=SEED)
        det = SpeckleDetector(
            name="det",
            sample=sample,
            grid=grid,
            data_directory=session.store.frames_directory,
            response=DetectorResponse(photons=1e6),
            exposure_time=0.1,
            nominal_exposure_time=0.1,
            seed=SEED,
        )
        session.RE(classify_grid_scan([det], sample.y, -1, 1, POINTS, sample.x, -1, 1, POINTS))
        shown = b""
        while shown != images.newest:  # until it has drawn the end
            shown = images.newest
            time.sleep(PATIENCE)
        figure.close()
    with Image.open(io.BytesIO(images.newest)) as drawn:
        drawn.convert("RGB").save(out, format="webp", quality=85)
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main()
