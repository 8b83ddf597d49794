"""Dark frames and flat fields for frames of files: corrected as during a scan."""

from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from numpy.typing import NDArray

from simulated_devices import draw_system, intensity, quadrant
from speckle_plugin.frames.correction_frames import correct_by
from tests.testing.commands import Refused, Speckle

NUMBERS = (2, 5, 9, 14)
SIZE = 257


@pytest.fixture(scope="module")
def dark() -> NDArray[Any]:
    """Two dark frames: an offset that rises along the rows, with hot columns, and its noise."""
    rows, columns = np.indices((SIZE, SIZE))
    mean = 100 + 20 * rows + 2000 * (columns % 8 == 3)
    return np.stack([mean - 2, mean + 2]).astype(np.uint32)


@pytest.fixture(scope="module")
def gain() -> NDArray[Any]:
    rows, columns = np.indices((SIZE, SIZE))
    gain = np.where(rows % 16 < 8, 1.0, 0.3) * (1.0 - columns / 400)
    gain[200:204, 10:200] = 0.0
    return gain


@pytest.fixture(scope="module")
def folder(dark: NDArray[Any], gain: NDArray[Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan of a detector with an offset and an uneven gain, its dark frames and its flat field."""
    path = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(4)
    grid = quadrant(SIZE)
    drawn = [intensity(draw_system("poly", number, rng), grid) for number in NUMBERS]
    light = np.stack([rng.poisson(frame * (1e7 / frame.sum())) for frame in drawn])
    offset = dark.mean(0).astype(np.uint32)
    with h5py.File(path / "scan.h5", "w") as file:
        file["frames"] = np.rint(light * gain).astype(np.uint32) + offset
        file["disk_number"] = NUMBERS
        file.attrs.update(beam_center=(0.0, 0.0), pitch=grid.pitch)
    with h5py.File(path / "dark.h5", "w") as file:
        file["shut/images"] = dark
        file["other/images"] = dark[:1]
    np.save(path / "flat.npy", np.rint(20_000 * gain).astype(np.uint32) + offset)
    return path


def labels(speckle: Speckle, folder: Path, *options: object, out: Path) -> list[tuple[str, str]]:
    shown = speckle("classify", folder / "scan.h5", "--out", out, "--force", *options)
    assert shown.exit_code == 0, shown.output
    with out.open(newline="") as file:
        return [(row["disk_number"], row["flags"]) for row in csv.DictReader(file)]


def test_frames_of_a_file_are_corrected(speckle: Speckle, folder: Path, tmp_path: Path) -> None:
    """By the shipped weights: without it, labels are wrong."""
    out, truth = tmp_path / "out.csv", [str(number) for number in NUMBERS]
    corrected = ("--dark", f"{folder}/dark.h5::shut/images", "--flat", folder / "flat.npy")
    assert [label for label, _ in labels(speckle, folder, out=out)] != truth
    assert [label for label, _ in labels(speckle, folder, *corrected[:2], out=out)] != truth
    assert labels(speckle, folder, *corrected, out=out) == [(number, "") for number in truth]


def test_dark_frames_are_turned_like_the_frames(
    speckle: Speckle, folder: Path, dark: NDArray[Any], tmp_path: Path
) -> None:
    with h5py.File(folder / "scan.h5") as file:
        stored = np.rot90(file["frames"][()], axes=(1, 2))
    np.save(tmp_path / "dark.npy", np.rot90(dark, axes=(1, 2)))
    np.save(tmp_path / "flat.npy", np.rot90(np.load(folder / "flat.npy")))
    np.save(tmp_path / "scan.npy", stored)
    out = tmp_path / "out.csv"
    shown = speckle(
        *("classify", tmp_path / "scan.npy", "--grid", "quadrant", "--orientation", "right-turn"),
        *("--dark", tmp_path / "dark.npy", "--flat", tmp_path / "flat.npy", "--out", out),
    )
    assert shown.exit_code == 0, shown.output
    with out.open(newline="") as file:
        assert [int(row["disk_number"]) for row in csv.DictReader(file)] == list(NUMBERS)


def test_the_corrected_frame_is_explained(folder: Path, dark: NDArray[Any], tmp_path: Path) -> None:
    arrays = tmp_path / "arrays.npz"
    # TensorFlow's log handler does not survive pytest's capturing.
    command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()"]
    command += ["explain", f"{folder}/scan.h5", "--frame-index", "2", "--arrays", str(arrays)]
    command += ["--dark", f"{folder}/dark.h5::shut/images", "--flat", f"{folder}/flat.npy"]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert shown.returncode == 0, shown.stderr
    with h5py.File(folder / "scan.h5") as file:
        raw = file["frames"][2]
    correction = correct_by(list(dark), [np.load(folder / "flat.npy")], (SIZE, SIZE)).correction
    assert correction is not None
    with np.load(arrays) as explained:
        np.testing.assert_array_equal(explained["frame"], correction(raw))
        assert explained["disk_number"] == NUMBERS[2]


def test_the_corrected_frame_is_solved(speckle: Speckle, dark: NDArray[Any], tmp_path: Path) -> None:
    """Its noise stays that of counts, though its values are no integers."""
    rng, grid = np.random.default_rng(4), quadrant(SIZE)
    frame = intensity(draw_system("poly", 5, rng), grid)
    offset = dark.mean(0).astype(np.uint32)
    gain = 1.0 + 0.05 * rng.standard_normal(grid.shape)  # as pixels of counting detectors differ
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["frames"] = rng.poisson(frame * gain * (1e7 / frame.sum()))[None].astype(np.uint32) + offset
        file.attrs.update(beam_center=(0.0, 0.0), pitch=grid.pitch)
    np.save(tmp_path / "dark.npy", dark)
    np.save(tmp_path / "flat.npy", np.rint(1e6 * gain).astype(np.uint32) + offset)
    out = tmp_path / "disks.csv"

    def solved(*options: object) -> tuple[str, str]:
        shown = speckle("solve", tmp_path / "scan.h5", "--workers", 1, "--out", out, "--force", *options)
        assert shown.exit_code == 0, shown.output
        with out.open(newline="") as file:
            (row,) = csv.DictReader(file)
        return row["certificate"], row["disk_number"]

    assert solved("--budget", 1)[0] != "solved"
    assert solved("--dark", tmp_path / "dark.npy", "--flat", tmp_path / "flat.npy") == ("solved", "5")


@pytest.mark.parametrize("command", ["classify", "solve", "explain"])
def test_what_can_not_correct(command: str, refused: Refused, folder: Path, tmp_path: Path) -> None:
    scan = [str(folder / "scan.h5"), *(["--out", "x.png"] if command == "explain" else [])]
    np.save(tmp_path / "small.npy", np.ones((3, 64, 64)))
    (tmp_path / "text.npy").write_text("no frames")
    why = (
        "frames can't be corrected by --flat small.npy: it has the shape (64, 64), the frames have (257, 257)"
    )
    refused(command, *scan, "--flat", "small.npy", why=why)
    refused(command, *scan, "--dark", "nothing.npy", why="no file nothing.npy")
    refused(command, *scan, "--dark", "text.npy", why="text.npy is neither")
    dark = str(folder / "dark.h5")
    refused(command, *scan, "--dark", dark, why="several datasets that could be frames")
    refused(command, *scan, "--dark", f"{dark}::light", why="holds no dataset 'light'")


def test_frames_of_runs_are_corrected_as_they_were(refused: Refused) -> None:
    run = ("explain", "--run", "abc", "--out", "x.png", "--data", ".")
    refused(*run, "--dark", "dark.npy", why="--dark and --flat are for frames of files")
    refused("solve", "--data", ".", "--flat", "flat.npy", why="--dark and --flat are for frames of a file")
