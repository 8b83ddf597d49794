"""Views of scans, made of frames of the simulator: for tests, and to be looked at (`python -m`)."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from simulated_devices import DetectorResponse, Family, centered, draw_system, intensity, quadrant
from speckle_plugin.display.course import Axis, Course
from speckle_plugin.display.view import Picture, Point, Progress, ScanHead, ScanView, Update
from tests.testing.engine import CLASSES

__all__ = ["SCENES", "picture", "scan"]

X, Y = Axis("sample_x", "sample_x (mm)", -1, 1, 2 / 7), Axis("sample_y", "sample_y (mm)", -1, 1, 2 / 7)
MAP, LINE = Course("map", X, Y), Course("line", X)
PLANE = Course("points", Axis("sample_x", "sample_x (mm)"), Axis("sample_y", "sample_y (mm)"))
COUNT = Course("time", Axis("time", "time since the start (s)"))


@functools.cache
def picture(disk_number: int = 7, mask: bool = True, label: bool = True) -> Picture:
    """Give a frame of a centred detector with a beam stop, or of a quadrant without a mask."""
    grid = centered() if mask else quadrant()
    rng = np.random.default_rng(1)
    frame = DetectorResponse(photons=1e6).respond(
        intensity(draw_system(Family.POLY, disk_number, rng), grid), rng
    )
    pixels = frame.astype(np.float32)
    if mask:
        row, column = (int(value) for value in grid.beam_center)
        pixels[row - 6 : row + 7, column - 6 : column + 7] = np.nan
        pixels[:, 40:44] = np.nan
    probabilities = np.full(len(CLASSES), 0.01, np.float32)
    probabilities[CLASSES.index(disk_number)] = 1 - 0.01 * (len(CLASSES) - 1)
    status, flags = ("classified", "saturated") if label else ("flagged", "non_finite")
    center = grid.beam_center if mask else None
    return Picture(
        "det_image", 63, pixels, 1, center, grid.pitch, status, disk_number if label else 0,
        float(probabilities.max()) if label else 0.0, flags, probabilities,
    )  # fmt: skip


def scan(course: Course, frames: int = 50, flagged: int = 3, **drawn: bool) -> ScanView:
    """Give a scan that has come so far."""
    rng = np.random.default_rng(2)
    points = []
    for number in range(frames):
        y, x = divmod(number, 8)
        label = number % (frames // flagged) != 5 if flagged else True
        points.append(
            Point(
                "det_image",
                number,
                1000.0 + 0.1 * number,
                0.1 * number if course.kind == "time" else -1 + 2 * x / 7 if course.y else number / frames,
                -1 + 2 * y / 7,
                int(rng.integers(2, 21)) if label else 0,
                float(rng.uniform(0.5, 1.0)) if label else 0.0,
                "classified" if label else "flagged",
                "" if label else "empty",
            )
        )
    head = ScanHead("uid", "scan 12: classify_grid_scan   (0a1b2c3d)", course, CLASSES, "quadrant 1.2", 1e3)
    view = ScanView()
    view.add(Update(head, points, picture(**drawn), Progress(frames, 3, 0.4, 0.021, "")))
    return view


SCENES: dict[str, Callable[[], ScanView]] = {
    "grid": lambda: scan(MAP),
    "plane": lambda: scan(PLANE),
    "line": lambda: scan(LINE),
    "count": lambda: scan(COUNT, mask=False),
    "flagged": lambda: scan(MAP, label=False),
    "nothing yet": ScanView,
}
