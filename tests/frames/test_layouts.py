"""The same frames, whichever format and layout they are written in; by files' commands and live."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from speckle_plugin.documents.descriptors import FrameSettings, describe_detector
from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.frames.files import open_frames
from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.reader import FrameReadError, read_frames

from .writers import DATA, FRAMES, LAYOUTS, eiger, hdf5, tiff


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_are_those_that_were_written(layout: str, tmp_path: Path) -> None:
    write, dataset = LAYOUTS[layout]
    frames = open_frames(write(tmp_path), dataset)
    assert frames.shape == FRAMES.shape
    blocks = list(frames.read_blocks(4))
    assert [len(block) for block in blocks] == [4, 2]
    np.testing.assert_array_equal(np.concatenate(blocks), FRAMES)
    np.testing.assert_array_equal(frames.read_frame(5), FRAMES[5])


def test_one_of_the_data_files_of_a_master_is_read_alone_if_said(tmp_path: Path) -> None:
    frames = open_frames(eiger(tmp_path), "/entry/data/data_000002")
    np.testing.assert_array_equal(next(frames.read_blocks(9)), FRAMES[3:])


def _reference(path: Path, index: int, dataset: str = DATA) -> FrameReference:
    data_key = {"dtype": "array", "shape": [40, 50], "source": "test", "dtype_numpy": "<u4"}
    detector = describe_detector("det", {"data_keys": {"det": data_key}}, FrameSettings())
    return FrameReference(detector, 0, 1, 0.0, str(path), dataset, index)


@pytest.mark.parametrize(
    "layout",
    [
        "bitshuffle and LZ4, an Eiger's default",
        "a virtual dataset of files in the folder",
        "a soft link",
        "events of several frames",
        "TIFF with several pages",
        "EDF with several frames",
    ],
)
def test_the_live_reader_takes_the_same_files(layout: str, tmp_path: Path) -> None:
    path = LAYOUTS[layout][0](tmp_path)
    found = read_frames([_reference(path, i) for i in (4, 1, 2)], patience=0)
    np.testing.assert_array_equal(np.array(found), FRAMES[[4, 1, 2]])


def test_a_master_whose_later_data_files_are_not_there_yet_is_read_live_and_refused_whole(
    tmp_path: Path,
) -> None:
    master = eiger(tmp_path)
    (tmp_path / "x_data_000002.h5").unlink()
    good, late = read_frames([_reference(master, 1, "entry/data")], patience=0) + read_frames(
        [_reference(master, 4, "entry/data")], patience=0
    )
    np.testing.assert_array_equal(good, FRAMES[1])
    assert isinstance(late, FrameReadError) and late.not_yet and "x_data_000002.h5 is not there" in str(late)
    with pytest.raises(ValueError, match="holds 3 frames and promises more: x_data_000002.h5 is not there"):
        open_frames(master)


WRITER = """
import sys, h5py, numpy as np
file = h5py.File(sys.argv[1], "w", libver="latest")
data = file.create_dataset("entry/data/data", data=np.ones((2, 40, 50)), maxshape=(None, 40, 50))
if sys.argv[2] == "swmr":
    file.swmr_mode = True
print("ready", flush=True)
sys.stdin.read()
"""


@pytest.mark.parametrize("mode", ["swmr", "locked"])
def test_a_file_that_another_program_writes(mode: str, tmp_path: Path) -> None:
    path = tmp_path / "w.h5"
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), mode],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as writer:
        assert writer.stdout is not None and writer.stdout.readline() == "ready\n"
        if mode == "swmr":
            assert open_frames(path).shape == (2, 40, 50)
        else:
            with pytest.raises(
                ValueError, match="open for writing in another program, without SWMR"
            ) as caught:
                open_frames(path)
            assert getattr(caught.value, "not_yet", False)
            (error,) = read_frames([_reference(path, 0)], patience=0)
            assert isinstance(error, FrameReadError) and error.not_yet
        writer.communicate("")


def test_what_can_never_be_right_is_not_waited_for(tmp_path: Path) -> None:
    hdf5(tmp_path / "t.h5", data=np.zeros((6, 40, 50), [("counts", int)]))

    def never(seconds: float) -> None:
        pytest.fail("it waits")

    (error,) = read_frames([_reference(tmp_path / "t.h5", 0)], patience=5.0, sleep=never)
    assert isinstance(error, FrameReadError) and not error.not_yet and "no plain numbers" in str(error)


def test_a_file_of_one_frame_holds_that_of_its_document(tmp_path: Path) -> None:
    hdf5(tmp_path / "one.h5", data=FRAMES[2])
    (frame,) = read_frames([_reference(tmp_path / "one.h5", 7)], patience=0)
    np.testing.assert_array_equal(frame, FRAMES[2])


def test_the_source_says_what_a_reader_needs(tmp_path: Path) -> None:
    with open_source(tiff(tmp_path)) as source:
        assert (source.shape, source.dtype, source.is_single) == ((6, 40, 50), np.dtype(np.uint16), False)
        with pytest.raises(ValueError, match="holds 6 frames, counted from 0, none with index 6"):
            source.read(6, 7)
    with h5py.File(tmp_path / "times.h5", "w") as file:
        file[DATA], file["entry/times"] = FRAMES, np.arange(6) / 2
    with open_source(tmp_path / "times.h5") as source:
        assert source.number("/entry/times", 3) == 1.5
        with pytest.raises(ValueError, match="number 9 of '/entry/times'"):
            source.number("/entry/times", 9)
