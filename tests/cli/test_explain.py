"""`speckle explain` on a file, and on a frame of a stored run, each in a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, cast

import bluesky.plans as bp
import h5py
import numpy as np
import pytest

from simulated_devices import SpeckleDetector, SpeckleSample
from speckle_plugin.cli.stored_frame import read_stored_frame
from speckle_plugin.frames.files import open_frames
from speckle_plugin.session import start_session
from tests.testing.commands import Speckle


def _speckle(*arguments: object) -> subprocess.CompletedProcess[str]:
    # TensorFlow's log handler does not survive pytest's capturing.
    command = [sys.executable, "-c", "from speckle_plugin.cli import app; app()", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def test_a_frame_of_a_file(small_bundle: Path, tmp_path: Path, frames: np.ndarray) -> None:
    file, out, arrays = tmp_path / "frames.h5", tmp_path / "picture.png", tmp_path / "arrays.npz"
    with h5py.File(file, "w") as opened:
        opened["frames"] = frames
    chosen = ("--frame-index", 3, "--disk-number", 9, "--model", small_bundle)
    result = _speckle("explain", file, *chosen, "--out", out, "--arrays", arrays)
    assert result.returncode == 0, result.stderr
    assert "frames.h5, frame 3: " in result.stdout
    assert "explained: 9 disks" in result.stdout
    assert "assumed_center" in result.stdout
    assert "nothing says where the beam is" in result.stderr
    assert out.read_bytes().startswith(b"\x89PNG")
    with np.load(arrays) as saved:
        np.testing.assert_array_equal(saved["frame"], frames[3])
        assert saved["disk_number"] == 9
        assert saved["probability"] == saved["probabilities"][list(saved["classes"]).index(9)]
        assert saved["saliency"].shape == (65, 65)
        assert saved["saliency"].any()
        assert saved["inputs"].shape == saved["grad_cam"].shape == (1, 64, 64)


def test_a_frame_of_a_stored_run(data_directory: Path, tmp_path: Path) -> None:
    arrays = tmp_path / "arrays.npz"
    with start_session(data_directory, table=False) as session:
        sample = SpeckleSample(name="sample", seed=3)
        det: Any = SpeckleDetector(
            name="det", sample=sample, data_directory=session.store.frames_directory, seed=3
        )
        (uid,) = cast("tuple[str, ...]", session.RE(bp.count([det], 4)))
        chosen = ("--run", uid[:8], "--frame-index", 2)
        result = _speckle("explain", "--data", data_directory, *chosen, "--arrays", arrays)
        assert result.returncode == 0, result.stderr
        assert f"run {uid[:8]}, det_image, frame 2: " in result.stdout
        assert "nothing says where the beam is" not in result.stderr
        files = sorted(data_directory.rglob("frames/*.h5"), key=lambda path: path.stat().st_mtime_ns)
        with np.load(arrays) as saved, h5py.File(files[2]) as file:
            np.testing.assert_array_equal(saved["frame"], file["/entry/data/data"][0])
            assert saved["saliency"].any()
            assert saved["pitch"] == pytest.approx(np.pi / 2000)
        wrong: list[tuple[tuple[Any, ...], str]] = [
            ((uid, 99), "there are 4 frames, none with index 99"),
            ((uid, 0, "other"), "no image key 'other': choose by `image_key` among det_image"),
            (("nowhere", 0), "no stored run has the uid nowhere"),
            (("99", 0), "no stored run has the scan id 99"),
        ]
        for name in (uid, "1", "last"):
            assert read_stored_frame(session.store, name, 2).run_uid == uid
        for arguments, message in wrong:
            with pytest.raises(ValueError, match=message):
                read_stored_frame(session.store, *arguments)


@pytest.mark.parametrize("kind", ["npz", "compressed", "single", "h5"])
def test_one_frame_is_read_as_the_blocks_have_it(tmp_path: Path, frames: np.ndarray, kind: str) -> None:
    path = tmp_path / "frames.file"
    if kind == "h5":
        with h5py.File(path, "w") as opened:
            opened["frames"] = frames
    else:
        with path.open("wb") as file:
            save = np.savez_compressed if kind == "compressed" else np.savez
            frames = frames[0] if kind == "single" else frames
            save(file, frames=frames)
    opened_frames = open_frames(path)
    stack = frames.reshape(-1, 65, 65)
    for index in (len(stack) - 1, 0):
        np.testing.assert_array_equal(opened_frames.read_frame(index), stack[index])
    with pytest.raises(ValueError, match=f"holds {len(stack)} frames, counted from 0, none with index 7"):
        opened_frames.read_frame(7)


def test_bad_input(speckle: Speckle, small_bundle: Path, tmp_path: Path, frames: np.ndarray) -> None:
    file, there = tmp_path / "frames.npz", tmp_path / "there.png"
    np.savez(file, frames=frames)
    there.write_text("precious")
    cases: list[tuple[tuple[object, ...], str]] = [
        ((file,), "nothing to make: give --out"),
        (("--out", "a.png"), "give either a file of frames or --run"),
        ((file, "--run", "abc", "--out", "a.png"), "give either a file of frames or --run"),
        ((file, "--out", there), "--force"),
        ((file, "--out", "a.jpg"), "must end with .png or .pdf or .svg"),
        ((file, "--arrays", "a.h5"), "must end with .npz"),
        ((file, "--out", "a.png", "--frame-index", 5), "holds 5 frames"),
        ((file, "--out", "a.png", "--grid", "centered", "--beam-center", "1,2"), "not both"),
        ((file, "--out", "a.png", "--beam-center", "500,500"), "expected the beam on the detector"),
        (("--run", "abc", "--data", tmp_path, "--out", "a.png"), "is no data directory"),
    ]
    for arguments, message in cases:
        result = speckle("explain", *arguments, "--model", small_bundle)
        assert result.exit_code == 2, (arguments, result.output)
        assert message in " ".join(result.stderr.split()), (arguments, result.stderr)
    assert there.read_text() == "precious"
