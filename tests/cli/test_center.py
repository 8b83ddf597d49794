"""`speckle center`, and what the other commands take from a detector's own file."""

from __future__ import annotations

from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
import pytest

from tests.testing.commands import Speckle


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> np.ndarray:
    """Two frames of 201 x 241 counts with the beam at row 98.3, column 125.6."""
    from simulated_devices import PixelGrid, draw_system, intensity

    rng = np.random.default_rng(8)
    frames = [
        intensity(draw_system("mono", n, rng), PixelGrid((201, 241), beam_center=(98.3, 125.6)))
        for n in (3, 8)
    ]
    return np.array([rng.poisson(f / f.sum() * 1e7) for f in frames]).astype(np.uint32)


def test_the_line_is_what_the_other_commands_take(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, simulated: np.ndarray
) -> None:
    path, out = tmp_path / "x_master.h5", tmp_path / "center.png"
    with h5py.File(tmp_path / "x_data_000001.h5", "w") as file:
        file.create_dataset(
            "entry/data/data", data=simulated, chunks=(1, 201, 241), **hdf5plugin.Bitshuffle()
        )
    with h5py.File(path, "w") as file:
        link = h5py.ExternalLink("x_data_000001.h5", "entry/data/data")
        file.create_group("entry/data")["data_000001"] = link
    result = speckle("center", path, "--frame-index", 1, "--out", out)
    assert result.exit_code == 0, result.output
    option, place = result.stdout.splitlines()[0].split()
    row, column = (float(text) for text in place.split(","))
    assert option == "--beam-center" and (row, column) == pytest.approx((98.3, 125.6), abs=0.1)
    assert out.read_bytes().startswith(b"\x89PNG")
    common = ("classify", path, "--model", small_bundle)
    right = speckle(*common, option, place)
    assert right.exit_code == 0 and "WARNING" not in right.stderr
    exchanged = speckle(*common, option, f"{column},{row}", "--beam-center-order", "x-y")
    assert exchanged.stdout == right.stdout and "WARNING" not in exchanged.stderr
    wrong = speckle(*common, option, f"{column},{row}")
    assert wrong.exit_code == 0
    assert "the first frame shows it near row 98, column 126: see speckle center" in " ".join(
        wrong.stderr.split()
    )


def test_frames_and_centre_turn_together(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, simulated: np.ndarray
) -> None:
    np.save(tmp_path / "stored.npy", simulated)
    np.save(tmp_path / "turned.npy", np.rot90(simulated, axes=(1, 2)))
    found = speckle("center", tmp_path / "stored.npy", "--orientation", "left-turn").stdout.splitlines()[0]
    assert found == speckle("center", tmp_path / "turned.npy").stdout.splitlines()[0]
    row, column = (float(text) for text in found.split()[1].split(","))
    assert (row, column) == pytest.approx((240 - 125.6, 98.3), abs=0.1)
    (tmp_path / "g.poni").write_text(
        f"PixelSize1: 1e-4\nPixelSize2: 1e-4\nDistance: 1\nPoni1: {98.8e-4}\nPoni2: {126.1e-4}\n"
    )
    for orientation in ("as-stored", "left-turn"):
        options = ("--geometry", tmp_path / "g.poni", "--orientation", orientation, "--model", small_bundle)
        result = speckle("classify", tmp_path / "stored.npy", *options)
        assert result.exit_code == 0, result.output
        assert result.stderr == "", "neither is the centre assumed, nor does a frame contradict it"


def test_a_mask_that_looks_inverted_is_told(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, simulated: np.ndarray
) -> None:
    good = np.ones((201, 241), np.uint8)
    good[:, 50:55] = 0
    np.save(tmp_path / "f.npy", simulated)
    np.save(tmp_path / "good.npy", good)
    options = (tmp_path / "f.npy", "--mask", tmp_path / "good.npy")
    beam = ("--beam-center", "98,126", "--model", small_bundle)
    inverted = speckle("classify", *options, *beam)
    assert inverted.exit_code == 2
    assert "It looks inverted: if so, give --mask-polarity used" in inverted.stderr
    assert "too little of the frame is left" in inverted.stderr
    right = speckle("classify", *options, *beam, "--mask-polarity", "used")
    assert right.exit_code == 0 and right.stderr == "", right.output
    assert speckle("center", *options, "--mask-polarity", "used").exit_code == 0


def test_hot_pixels_are_told(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, simulated: np.ndarray
) -> None:
    spoilt = simulated.copy()
    spoilt[:, 20:190:20, 30] = 10**6
    np.save(tmp_path / "f.npy", spoilt)
    result = speckle("classify", tmp_path / "f.npy", "--beam-center", "98,126", "--model", small_bundle)
    assert result.exit_code == 0
    assert "WARNING: 9 pixels stand out" in result.stderr and "see --mask" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("center", "f.npy", "--frame-index", "9"), "holds 2 frames, counted from 0, none with index 9"),
        (("center", "f.npy", "--mask", "small.npy"), "the mask has the shape (9, 9)"),
        (("center", "f.npy", "--out", "picture.gif"), "must end with .png"),
        (("center", "noise.npy"), "no centre of symmetry"),
        (("classify", "f.npy", "--grid", "centered", "--geometry", "g.poni"), "not both"),
        (("classify", "f.npy", "--geometry", "missing.poni"), "no file missing.poni"),
        (("classify", "f.npy", "--orientation", "sideways"), "'sideways' is not one of"),
        (
            ("explain", "--run", "1", "--orientation", "mirrored", "--out", "a.png"),
            "--orientation is for frames",
        ),
    ],
)
def test_bad_input(
    speckle: Speckle,
    tmp_path: Path,
    simulated: np.ndarray,
    arguments: tuple[str, ...],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    np.save("f.npy", simulated)
    np.save("noise.npy", np.random.default_rng(0).poisson(9.0, (64, 64)))
    np.save("small.npy", np.zeros((9, 9), bool))
    result = speckle(*arguments)
    assert result.exit_code == 2, result.output
    assert message.replace(" ", "") in "".join(result.stderr.replace("│", "").split())
