"""How the frames of a run are laid out: a map, a line, or in time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from speckle_plugin.monitor.layout import layout_of, step_of
from speckle_plugin.monitor.shown_frame import LARGEST_SIDE, thin
from speckle_plugin.monitor.view.tables import ordered

GRID = {"extents": [[-1, 1], [0, 4]], "shape": [3, 5]}


def frames(**columns: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"time": np.arange(float(len(next(iter(columns.values()), [])))), **columns})


@pytest.mark.parametrize(
    ("start", "positions", "table", "kind", "axes", "step"),
    [
        # The first row of a grid does not tell the distance of rows: the plan does.
        (GRID, ["y", "x"], frames(y=[-1.0, -1, -1], x=[0.0, 1, 2]), "map", ("x", "y"), (1.0, 1.0)),
        ({}, ["y", "x"], frames(y=[0.0, 0, 2, 2], x=[0.0, 0.5, 0, 0.5]), "map", ("x", "y"), (0.5, 2.0)),
        ({}, ["z", "y", "x"], frames(z=[0.0, 0], y=[0.0, 1], x=[0.0, 1]), "map", ("x", "y"), (1.0, 1.0)),
        ({}, ["x"], frames(x=[0.0, 1, 2]), "line", ("x", ""), (1.0, 1.0)),
        ({}, [], frames(x=[0.0, 1, 2]), "time", ("time", ""), (1.0, 1.0)),
        # Positions that no frame has yet, or that are not stored.
        ({}, ["x"], frames(x=[np.nan, np.nan]), "time", ("time", ""), (1.0, 1.0)),
        (GRID, ["y", "x"], frames(), "time", ("time", ""), (1.0, 1.0)),
        # Statements that make no sense.
        (
            {"extents": "?", "shape": [3]},
            ["y", "x"],
            frames(y=[0.0, 1], x=[0.0, 1]),
            "map",
            ("x", "y"),
            (1, 1),
        ),
    ],
)
def test_layouts(
    start: Any, positions: list[str], table: pd.DataFrame, kind: str, axes: Any, step: Any
) -> None:
    layout = layout_of(start, positions, {"x": "mm"}, table)
    assert (str(layout.kind), (layout.x, layout.y)) == (kind, axes)
    assert layout.step == pytest.approx(step)
    if layout.x == "x":
        assert layout.x_label == "x (mm)"


def test_steps_are_steady_against_the_noise_of_encoders() -> None:
    rng = np.random.default_rng(1)
    x = np.tile(np.linspace(-1, 1, 9), 20) + rng.normal(scale=1e-6, size=180)
    assert step_of(x) == pytest.approx(0.25, rel=0.01)
    assert step_of(np.full(4, 2.0)) == step_of(np.zeros(0)) == step_of(np.array([np.nan])) == 1.0


def test_thinning_keeps_the_mean() -> None:
    values = np.arange(7 * 5, dtype=np.uint16).reshape(7, 5)
    thinned = thin(values, 2)
    assert thinned.shape == (4, 3) and thinned.dtype == np.float32
    assert thinned[0, 0] == np.mean(values[:2, :2]) and thinned[3, 2] == values[6, 4]
    holes = values.astype(float)
    holes[:2, :2] = np.nan
    holes[0, 2] = np.inf
    assert np.isnan(thin(holes, 2)[0, 0])
    assert thin(holes, 2)[0, 1] == np.mean([values[0, 3], values[1, 2], values[1, 3]])
    large = thin(np.ones((4000, 4000), np.float32), -(-4000 // LARGEST_SIDE))
    assert max(large.shape) <= LARGEST_SIDE and np.all(large == 1)


class State:
    """As much of a run as the order of frames needs."""

    image_keys = ("det_image",)

    def __init__(self, *rows: tuple[str, float, str, str, int]) -> None:
        names = ["status", "confidence", "flags", "certificate", "structure_disk_number"]
        self.table = pd.DataFrame(rows, columns=names).assign(
            image_key="det_image", frame_index=range(len(rows)), disk_number=7
        )
        self.table["structure_disk_number"] = self.table["structure_disk_number"].astype("Int64")


def test_what_to_look_at_comes_first() -> None:
    state: Any = State(
        ("classified", 0.9, "", "", 0),
        ("classified", 0.5, "", "", 0),
        ("classified", 0.7, "saturated", "", 0),
        ("flagged", 0.0, "empty", "", 0),
        ("classified", 0.99, "", "solved", 8),
        ("classified", 0.95, "", "solved", 7),
        ("waiting", np.nan, "", "", 0),
    )
    assert list(ordered(state, "flagged first")["frame_index"]) == [3, 4, 2, 1, 0, 5, 6]
    assert list(ordered(state, "least certain first")["frame_index"])[:3] == [1, 2, 0]
    assert list(ordered(state, "newest first")["frame_index"]) == [6, 5, 4, 3, 2, 1, 0]
    assert list(ordered(state, "in the order of frames")["frame_index"]) == list(range(7))
