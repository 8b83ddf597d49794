from __future__ import annotations

import math
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.testing.commands import Refused, Speckle

SMALL = ("--size", 33, "--disk-numbers", "2,5", "--count", 3)


def test_npz(speckle: Speckle, tmp_path: Path) -> None:
    path = tmp_path / "frames.npz"
    result = speckle("simulate", *SMALL, "--seed", 7, "--out", path)
    assert result.exit_code == 0, result.output
    with np.load(path) as file:
        assert file["frames"].shape == (6, 33, 33)
        assert file["frames"].dtype == np.float32
        assert file["disk_number"].tolist() == [2, 2, 2, 5, 5, 5]
        assert file["beam_center"].tolist() == [0, 0]
        assert file["pitch"] == pytest.approx(math.pi / 2000)
        assert file["seed"] == 7
        # All disks scatter in phase at k = 0, whatever their number: (pi sum r^2)^2.
        np.testing.assert_allclose(file["frames"][:, 0, 0], (math.pi * 16200) ** 2, rtol=1e-6)
        assert len(np.unique(file["frames"], axis=0)) == 6


def test_hdf5_holds_the_same_frames(speckle: Speckle, tmp_path: Path) -> None:
    assert speckle("simulate", *SMALL, "--out", tmp_path / "frames.npz").exit_code == 0
    assert speckle("simulate", *SMALL, "--out", tmp_path / "frames.h5").exit_code == 0
    with np.load(tmp_path / "frames.npz") as npz, h5py.File(tmp_path / "frames.h5") as hdf5:
        np.testing.assert_array_equal(npz["frames"], hdf5["frames"][()])
        np.testing.assert_array_equal(npz["disk_number"], hdf5["disk_number"][()])
        assert hdf5.attrs["family"] == npz["family"] == "mono"
        assert hdf5.attrs["beam_center"].tolist() == npz["beam_center"].tolist()


def test_a_longer_file_begins_like_a_shorter_one(speckle: Speckle, tmp_path: Path) -> None:
    for count in (1, 3):
        arguments = (
            "--size",
            33,
            "--disk-numbers",
            "4",
            "--count",
            count,
            "--out",
            tmp_path / f"{count}.npz",
        )
        assert speckle("simulate", *arguments).exit_code == 0
    with np.load(tmp_path / "1.npz") as one, np.load(tmp_path / "3.npz") as three:
        np.testing.assert_array_equal(one["frames"][0], three["frames"][0])


def test_photons(speckle: Speckle, tmp_path: Path) -> None:
    path = tmp_path / "frames.npz"
    assert speckle("simulate", *SMALL, "--photons", 1e4, "--out", path).exit_code == 0
    with np.load(path) as file:
        np.testing.assert_array_equal(file["frames"], np.rint(file["frames"]))
        # The sum is a Poisson number of mean 10 000: five standard deviations are 500.
        np.testing.assert_allclose(file["frames"].sum(axis=(1, 2)), 1e4, atol=500)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--out", "frames.txt"), "must end with .npz or .h5"),
        (("--out", "there.npz"), "--force"),
        (("--out", "no/folder/frames.npz"), "there is no folder"),
        (("--disk-numbers", "five"), "'five' can't be read"),
        (("--family", "constant_radius", "--disk-numbers", "2,200"), "do not fit into the box"),
        (("--grid", "centered", "--size", "64"), "odd size"),
        (("--size", "-3"), "Invalid value for '--size'"),
        (("--photons", "-1"), "photons must be a positive number"),
        (("--photons", "nan"), "photons must be a positive number"),
        (("--family", "triangles"), "'triangles' is not one of 'mono'"),
        (("--count", "0"), "--count"),
    ],
)
def test_bad_input(refused: Refused, tmp_path: Path, arguments: tuple[str, ...], message: str) -> None:
    Path("there.npz").write_text("precious")
    if "--out" not in arguments:
        arguments = (*arguments, "--out", "frames.npz")
    refused("simulate", *arguments, why=message)
    assert [p.name for p in tmp_path.iterdir()] == ["there.npz"]
    assert Path("there.npz").read_text() == "precious"
