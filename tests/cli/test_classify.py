from __future__ import annotations

import csv
import zipfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from speckle_plugin.frames.files import open_frames
from speckle_plugin.network import load_bundle
from speckle_plugin.network.classifier import Classifier
from speckle_plugin.preprocessing import FrameGeometry
from tests.testing.commands import Speckle


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_row_per_frame_as_the_classifier_labels_it(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray
) -> None:
    frames[1] = 0.0
    frames[3, 40, 40] = np.nan
    path, out = tmp_path / "frames.npz", tmp_path / "results.csv"
    np.savez(path, frames=frames, beam_center=(0, 0))
    result = speckle("classify", path, "--model", small_bundle, "--engine", "openvino", "--out", out)
    assert result.exit_code == 0, result.output
    expected = Classifier(load_bundle(small_bundle), "openvino").label(list(frames), FrameGeometry((65, 65)))
    rows = _rows(out)
    assert [int(row["frame_index"]) for row in rows] == list(range(5))
    assert [int(row["disk_number"]) for row in rows] == [r.disk_number for r in expected]
    assert [float(row["confidence"]) for row in rows] == pytest.approx(
        [r.confidence for r in expected], abs=1e-4
    )
    assert [row["flags"] for row in rows] == ["", "empty", "", "non_finite", ""]
    assert "no label" in result.stdout
    assert "empty" in result.stdout
    assert "accuracy" not in result.stdout


def test_truth_gives_accuracy_and_confusion(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray
) -> None:
    path, out = tmp_path / "frames.h5", tmp_path / "results.csv"
    arguments = ("--model", small_bundle, "--out", out, "--force")
    with h5py.File(path, "w") as file:
        file["frames"] = frames
    assert speckle("classify", path, *arguments).exit_code == 0
    found = [int(row["disk_number"]) for row in _rows(out)]
    truth = [found[0], *(n + 1 for n in found[1:])]
    with h5py.File(path, "a") as file:
        file["disk_number"] = truth
    result = speckle("classify", path, *arguments)
    assert result.exit_code == 0, result.output
    assert "accuracy 20.00%: 1 of 5 labelled frames are right" in result.stdout


def test_an_assumed_beam_centre_is_flagged(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray
) -> None:
    path, out = tmp_path / "frames.npz", tmp_path / "results.csv"
    np.savez(path, frames=frames)
    result = speckle("classify", path, "--model", small_bundle, "--out", out)
    assert {row["flags"] for row in _rows(out)} == {"assumed_center"}
    assert "does not say where the beam is" in result.stderr
    result = speckle("classify", path, "--model", small_bundle, "--out", out, "--grid", "quadrant", "--force")
    assert {row["flags"] for row in _rows(out)} == {""}
    assert result.stderr == ""


def test_simulated_files_say_where_their_beam_is(
    speckle: Speckle, small_bundle: Path, tmp_path: Path
) -> None:
    path, said, given = tmp_path / "frames.h5", tmp_path / "said.csv", tmp_path / "given.csv"
    simulated = ("simulate", "--grid", "centered", "--size", 131, "--disk-numbers", "3", "--count", 2)
    assert speckle(*simulated, "--out", path).exit_code == 0
    assert speckle("classify", path, "--model", small_bundle, "--out", said).exit_code == 0
    arguments = ("--model", small_bundle, "--out", given, "--beam-center", "65,65")
    assert speckle("classify", path, *arguments).exit_code == 0
    assert said.read_text() == given.read_text()


def test_frames_where_area_detector_puts_them(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray
) -> None:
    path = tmp_path / "det.h5"
    with h5py.File(path, "w") as file:
        file["/entry/data/data"] = frames.astype(np.uint16)
    result = speckle("classify", path, "--grid", "quadrant", "--model", small_bundle)
    assert result.exit_code == 0, result.output
    assert "5 frames by small 0" in result.stdout


@pytest.mark.parametrize("kind", ["npy", "npz", "h5"])
def test_a_mask_hides_what_is_not_finite(
    speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray, kind: str
) -> None:
    mask = np.zeros((65, 65), bool)
    mask[:, 20] = True
    frames[:, mask] = np.nan
    path, mask_file, out = tmp_path / "frames.npz", tmp_path / f"mask.{kind}", tmp_path / "results.csv"
    np.savez(path, frames=frames)
    if kind == "npy":
        np.save(mask_file, mask.astype(np.int8))
    elif kind == "npz":
        np.savez(mask_file, mask)
    else:
        with h5py.File(mask_file, "w") as file:
            file["mask"], file["other"] = mask, 1
    arguments = ("--grid", "quadrant", "--model", small_bundle, "--mask", mask_file, "--out", out)
    result = speckle("classify", path, *arguments)
    assert result.exit_code == 0, result.output
    assert {row["flags"] for row in _rows(out)} == {""}


@pytest.mark.parametrize("kind", ["npz", "compressed", "fortran", "h5", "single"])
def test_blocks_join_to_the_frames(tmp_path: Path, frames: np.ndarray, kind: str) -> None:
    path = tmp_path / "frames.file"
    with path.open("wb") as file:
        if kind == "h5":
            with h5py.File(file, "w") as hdf5:
                hdf5["frames"] = frames
        elif kind == "compressed":
            np.savez_compressed(file, frames=frames)
        elif kind == "fortran":
            np.savez(file, frames=np.asfortranarray(frames))
        elif kind == "single":
            frames = frames[:1]
            np.savez(file, frames=frames[0])
        else:
            np.savez(file, frames=frames)
    opened = open_frames(path)
    blocks = list(opened.read_blocks(2))
    assert max(len(block) for block in blocks) <= 2
    assert opened.shape == frames.shape
    np.testing.assert_array_equal(np.concatenate(blocks), frames)


def test_bad_input(speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray) -> None:
    good = tmp_path / "good.npz"
    np.savez(good, frames=frames, other=1)
    files: dict[str, dict[str, np.ndarray]] = {
        "flat": {"frames": frames.ravel()},
        "text": {"frames": np.full((2, 65, 65), "x")},
        "complex": {"frames": frames.astype(complex)},
        "none": {"frames": frames[:0]},
        "small": {"frames": frames[:, :20, :20]},
        "truth": {"frames": frames, "disk_number": np.arange(3)},
        "pickled": {"frames": np.full((2, 65, 65), None)},
    }
    for name, arrays in files.items():
        np.savez(tmp_path / f"{name}.npz", allow_pickle=True, **arrays)
    (tmp_path / "rubbish.npz").write_bytes(b"rubbish" * 100)
    (tmp_path / "cut.npz").write_bytes(good.read_bytes()[:-200])
    with h5py.File(tmp_path / "others.h5", "w") as file:
        file["entry/images"], file["entry/more"] = frames, frames
    with h5py.File(tmp_path / "records.h5", "w") as file:
        file["frames"] = np.zeros(3, [("a", int)])
    np.save(tmp_path / "wrong_shape.npy", np.zeros((64, 65), bool))
    np.save(tmp_path / "no_mask.npy", frames[0])
    (tmp_path / "empty.npy").write_bytes(b"")
    np.save(tmp_path / "all.npy", np.ones((65, 65), bool))
    whole = small_bundle.read_bytes()
    (tmp_path / "cut.bundle").write_bytes(whole[: len(whole) // 2])
    with zipfile.ZipFile(small_bundle) as old, zipfile.ZipFile(tmp_path / "changed.bundle", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            new.writestr(name, data.replace(b'"small"', b'"large"') if name == "manifest.json" else data)
    (tmp_path / "there.csv").write_text("precious")

    cases: list[tuple[str, tuple[str, ...], str]] = [
        ("missing.npz", (), "no file"),
        (".", (), "no file but a folder"),
        ("rubbish.npz", (), "neither HDF5, .npy, .npz, TIFF, CBF or EDF"),
        ("cut.npz", (), "neither HDF5, .npy, .npz, TIFF, CBF or EDF"),
        ("good.npz", ("--dataset", "images"), "it holds frames, other"),
        ("others.h5", (), "it holds entry/images (5, 65, 65), entry/more (5, 65, 65)"),
        ("records.h5", (), "no plain numbers"),
        ("flat.npz", (), "must have the shape (frames, rows, columns)"),
        ("text.npz", (), "must hold real numbers"),
        ("complex.npz", (), "must hold real numbers"),
        ("pickled.npz", (), "must hold real numbers"),
        ("none.npz", (), "is empty"),
        ("small.npz", (), "too little of the frame is left"),
        ("truth.npz", (), "must be 5 integers"),
        ("good.npz", ("--mask", "wrong_shape.npy"), "the mask has the shape (64, 65)"),
        ("good.npz", ("--mask", "no_mask.npy"), "true and false"),
        ("good.npz", ("--mask", "empty.npy"), "can't be read as a mask"),
        ("good.npz", ("--mask", "good.npz"), "one named 'mask'"),
        ("good.npz", ("--mask", "all.npy"), "too little of the frame is left"),
        ("good.npz", ("--mask", "missing.npy"), "no file"),
        ("good.npz", ("--beam-center", "1;2"), "ROW,COLUMN"),
        ("good.npz", ("--beam-center", "500,500"), "expected the beam on the detector"),
        ("good.npz", ("--beam-center", "1,2", "--grid", "quadrant"), "not both"),
        ("good.npz", ("--grid", "hexagonal"), "'hexagonal' is not one of"),
        ("good.npz", ("--model", "missing.bundle"), "no bundle at missing.bundle"),
        ("good.npz", ("--model", "cut.bundle"), "may be truncated"),
        ("good.npz", ("--model", "changed.bundle"), "was changed or damaged"),
        ("good.npz", ("--engine", "steam"), "'steam' is not one of"),
        ("good.npz", ("--out", "there.csv"), "--force"),
        ("good.npz", ("--out", "results.xls"), "must end with .csv"),
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        for file_name, arguments, message in cases:
            if "--model" not in arguments:
                arguments = (*arguments, "--model", str(small_bundle))
            result = speckle("classify", file_name, *arguments)
            case = f"classify {file_name} {arguments}: {result.stderr} {result.exception!r}"
            assert result.exit_code == 2, case
            assert message.replace(" ", "") in "".join(result.stderr.replace("│", "").split()), case
            if not result.stderr.startswith("Usage"):  # typer's own, in a frame
                last = result.stderr.strip().splitlines()[-1]
                assert last.startswith("Error: "), case
    assert (tmp_path / "there.csv").read_text() == "precious"


def test_an_unexpected_error_keeps_its_traceback(
    speckle: Speckle, tmp_path: Path, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, dataset: str | None) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("speckle_plugin.frames.files.open_frames", fail)
    result = speckle("classify", tmp_path / "frames.npz")
    assert isinstance(result.exception, RuntimeError)
    result = speckle("--traceback", "models", tmp_path / "missing.bundle")
    assert isinstance(result.exception, ValueError)


@pytest.mark.parametrize(
    ("k_step", "options", "told", "flag"),
    [
        (0.00034905, (), "network published: for the k step 0.000349", None),
        (0.1, (), "network quadrant: the default one, but no network is for the k step 0.1", "wrong_k_step"),
        (0.1, ("--model", "quadrant"), "network quadrant: asked for, though it is for", "other_pitch"),
        (None, (), "network quadrant: the default one, since the k step is not stated", None),
    ],
)
def test_the_k_step_of_the_frames_chooses_the_network(
    speckle: Speckle,
    tmp_path: Path,
    frames: np.ndarray,
    k_step: float | None,
    options: tuple[str, ...],
    told: str,
    flag: str | None,
) -> None:
    path, out = tmp_path / "frames.npz", tmp_path / "results.csv"
    stated: dict[str, Any] = {} if k_step is None else {"k_step": k_step}
    np.savez(path, frames=frames[:2], beam_center=(0, 0), **stated)
    result = speckle("classify", path, "--engine", "openvino", "--out", out, *options)
    assert result.exit_code == 0, result.output
    assert told in " ".join(result.stdout.split())
    rows = _rows(out)
    assert all((int(row["disk_number"]) == 0) == (flag == "wrong_k_step") for row in rows)
    if flag is not None:
        assert all(flag in row["flags"].split(",") for row in rows)
