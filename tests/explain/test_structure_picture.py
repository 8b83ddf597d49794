"""The picture of a solved frame: what it says, and that it can be made of any answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.explain.structure_picture import structure_picture
from speckle_plugin.preprocessing import FrameGeometry
from speckle_plugin.structure import SolveSettings, solve

GRID = quadrant(65)
SYSTEM = draw_system("poly", 3, np.random.default_rng(1))


def _circles(figure: Figure) -> list[tuple[float, float, float]]:
    """Give the filled and the dashed circles of the first panel, sorted."""
    patches = figure.axes[0].patches
    return sorted((p.center[0], p.center[1], p.radius) for p in patches)  # type: ignore[attr-defined]


def test_disks_lie_on_the_true_ones(tmp_path: Path) -> None:
    frame = intensity(SYSTEM, GRID)
    mask = np.zeros(GRID.shape, bool)
    mask[:, 30] = True
    geometry = FrameGeometry(GRID.shape, GRID.beam_center, mask)
    structure = solve(frame, geometry, GRID.pitch)
    truth = np.column_stack([SYSTEM.positions, SYSTEM.radii])
    figure = structure_picture(structure, frame, geometry, "scan 3, frame 0", unit="nm", truth=truth)
    circles = np.array(_circles(figure))
    assert len(circles) == 6
    np.testing.assert_allclose(circles[::2], circles[1::2], atol=0.01)
    title = figure.get_suptitle()
    assert title.startswith("scan 3, frame 0: 3 disks, solved")
    real, measured, calculated, residual = figure.axes[:4]
    assert "(nm)" in real.get_xlabel() and "row (pixels)" == measured.get_ylabel()
    shown: NDArray[np.float64] = np.ma.filled(np.ma.asarray(residual.images[0].get_array()), np.nan)
    assert np.isnan(shown[:, 30]).all()
    assert np.nanmax(np.abs(shown)) < 1e-3
    figure.savefig(tmp_path / "picture.png")


def test_frames_without_an_answer_are_drawn_too(tmp_path: Path) -> None:
    geometry = FrameGeometry(GRID.shape)
    flat = np.full(GRID.shape, 7.0)  # with nothing to compare with, its residual was infinite
    for name, frame in (("empty", 0.0 * flat), ("constant", flat), ("nan", np.nan * flat)):
        structure = solve(frame, geometry, GRID.pitch, SolveSettings(budget=1.0))
        figure = structure_picture(structure, frame, geometry)
        assert figure.get_suptitle().startswith("0 disks, undecided")
        figure.savefig(tmp_path / f"{name}.png")
