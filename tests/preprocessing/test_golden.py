"""Inputs of the network stay what they were when the shipped networks were trained.

`golden.json` holds sums of `prepare`'s outputs, and of its vector-Jacobian products, weighted by a wave
so that every value counts in its place. It was made by version 0.1.0. To make it anew, on purpose:
``python -m tests.preprocessing.test_golden``.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import ArrayLike, NDArray

from speckle_plugin.preprocessing import FrameGeometry, Preprocessing, prepare
from speckle_plugin.preprocessing.gradient import vector_jacobian_product

GOLDEN = Path(__file__).with_name("golden.json")

GEOMETRIES = {
    "corner": ((65, 70), (0.0, 0.3)),
    "inside": ((97, 101), (48.3, 50.7)),
    "near an edge": ((90, 80), (20.5, 78.6)),
}

SETTINGS = {
    "log": Preprocessing(),
    "log of a crop": Preprocessing(crop=40, log_offset=1e-2, center_half_width=2.5),
    "linear": Preprocessing(intensity="linear"),
    "patterson": Preprocessing(intensity="patterson", oversampling=2, map_size=48, sharpening=1.0),
    "patterson and radial image": Preprocessing(intensity="patterson", crop=64, radial_rows=7, softness=1.0),
}

DTYPES = ["<f8", ">f4", "<u2", "<i4"]

CASES = list(itertools.product(GEOMETRIES, SETTINGS, (False, True)))


def sums(case: tuple[str, str, bool], dtype: str = "<f8") -> list[float]:
    """Give weighted sums of the inputs, and of the derivatives, of three frames."""
    geometry_name, settings_name, masked = case
    shape, center = GEOMETRIES[geometry_name]
    mask = None
    if masked:
        mask = np.zeros(shape, bool)
        mask[30:33] = mask[:, 41] = True
    geometry, settings = FrameGeometry(shape, center, mask), SETTINGS[settings_name]
    rows, columns = np.indices(shape)
    waves = np.cos(0.31 * rows + 0.17 * columns) + np.sin(0.05 * rows * columns) + 2.5
    frames = np.rint(np.stack([waves, waves**2, waves**4]) * 100.0).astype(dtype)
    inputs = prepare(frames, settings, geometry)
    derivatives = vector_jacobian_product(_wave(inputs.shape), frames, settings, geometry)
    return [_weighted(inputs), _weighted(derivatives * frames)]


def _wave(shape: tuple[int, ...]) -> NDArray[np.float64]:
    return np.sin(1.0 + 0.7 * np.arange(np.prod(shape))).reshape(shape)


def _weighted(values: ArrayLike) -> float:
    values = np.asarray(values, np.float64)
    return float((values * _wave(values.shape)).sum() / np.abs(values).sum())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_inputs_are_those_of_the_shipped_networks(case: tuple[str, str, bool]) -> None:
    golden = json.loads(GOLDEN.read_text())[str(case)]
    for dtype in DTYPES:
        np.testing.assert_allclose(sums(case, dtype), golden, rtol=0, atol=2e-6)


if __name__ == "__main__":
    GOLDEN.write_text(json.dumps({str(case): sums(case) for case in CASES}, indent=0) + "\n")
