"""What a file is not able to give is said in one clear error, and no link leads out of its folder."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from fabio.edfimage import EdfImage

from speckle_plugin.frames.files import open_frames

from .writers import DATA, FRAMES, eiger, hdf5, tiff, virtual


def _elsewhere(folder: Path) -> Path:
    """Give the path of a file of frames in another folder."""
    other = folder / "elsewhere"
    other.mkdir()
    return hdf5(other / "secret.h5")


def external_link(folder: Path) -> Path:
    with h5py.File(folder / "m.h5", "w") as file:
        file[DATA] = h5py.ExternalLink(str(_elsewhere(folder)), DATA)
    return folder / "m.h5"


def relative_link_out(folder: Path) -> Path:
    _elsewhere(folder)
    with h5py.File(folder / "m.h5", "w") as file:
        file["images"] = h5py.ExternalLink("elsewhere/secret.h5", DATA)
    return folder / "m.h5"


def group_linked_out(folder: Path) -> Path:
    with h5py.File(folder / "m.h5", "w") as file:
        file["entry"] = h5py.ExternalLink(str(_elsewhere(folder)), "entry")
    return folder / "m.h5"


def symbolic_link(folder: Path) -> Path:
    master = eiger(folder)
    (folder / "x_data_000001.h5").unlink()
    os.symlink(_elsewhere(folder), folder / "x_data_000001.h5")
    return master


def over_a_file_in_the_folder(folder: Path) -> Path:
    with h5py.File(folder / "between.h5", "w") as file:
        file["data"] = h5py.ExternalLink(str(_elsewhere(folder)), DATA)
    with h5py.File(folder / "m.h5", "w") as file:
        file[DATA] = h5py.ExternalLink("between.h5", "data")
    return folder / "m.h5"


def virtual_of_elsewhere(folder: Path) -> Path:
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource(str(_elsewhere(folder)), DATA, FRAMES.shape)
    with h5py.File(folder / "v.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("frames", layout)
    return folder / "v.h5"


def virtual_of_a_virtual(folder: Path) -> Path:
    virtual_of_elsewhere(folder)
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    layout[:] = h5py.VirtualSource("v.h5", "frames", FRAMES.shape)
    with h5py.File(folder / "w.h5", "w", libver="latest") as file:
        file.create_virtual_dataset("frames", layout)
    return folder / "w.h5"


def virtual_with_a_gap(folder: Path) -> Path:
    path = virtual(folder)
    (folder / "part1.h5").unlink()
    return path


def raw_data(folder: Path) -> Path:
    (folder / "raw.bin").write_bytes(FRAMES.tobytes())
    with h5py.File(folder / "r.h5", "w") as file:
        file.create_dataset(
            "frames", FRAMES.shape, FRAMES.dtype, external=[(str(folder / "raw.bin"), 0, FRAMES.nbytes)]
        )
    return folder / "r.h5"


def circle(folder: Path) -> Path:
    with h5py.File(folder / "c.h5", "w") as file:
        file["frames"] = h5py.SoftLink("/other")
        file["other"] = h5py.SoftLink("/frames")
    return folder / "c.h5"


def two_datasets(folder: Path) -> Path:
    with h5py.File(folder / "2.h5", "w") as file:
        file["a/first"], file["b/second"] = FRAMES, FRAMES[:2]
    return folder / "2.h5"


def no_images(folder: Path) -> Path:
    return hdf5(folder / "spectra.h5", "spectrum", np.zeros((6, 2000)))


def foreign_filter(folder: Path) -> Path:
    """A file whose filter has a number that nobody registered: the number of LZ4 is written over."""
    import hdf5plugin

    path = hdf5(folder / "f.h5", chunks=(1, 40, 50), **hdf5plugin.LZ4())
    content = path.read_bytes()
    assert content.count(struct.pack("<H", 32004)) >= 1
    path.write_bytes(content.replace(struct.pack("<H", 32004), struct.pack("<H", 31999)))
    return path


def truncated(folder: Path) -> Path:
    path = hdf5(folder / "t.h5")
    path.write_bytes(path.read_bytes()[:-5000])
    return path


def colours(folder: Path) -> Path:
    tifffile.imwrite(folder / "rgb.tif", np.zeros((40, 50, 3), np.uint8), photometric="rgb")
    return folder / "rgb.tif"


def unlike_pages(folder: Path) -> Path:
    with tifffile.TiffWriter(folder / "p.tif") as writer:
        writer.write(FRAMES[0])
        writer.write(FRAMES[0, :20])
    return folder / "p.tif"


def unlike_files(folder: Path) -> Path:
    tiff(folder)
    tifffile.imwrite(folder / "t2.tif", FRAMES.astype(np.float32), photometric="minisblack")
    return folder / "t*.tif"


def edf_with_pixels_elsewhere(folder: Path) -> Path:
    EdfImage(data=FRAMES[0], header={}).write(str(folder / "e.edf"))
    header = (
        b"{\nEDF_BinaryFileName = other.bin ;\nDim_1 = 50 ;\nDim_2 = 40 ;\nDataType = UnsignedInteger ;\n"
    )
    header += b"ByteOrder = LowByteFirst ;\n"
    (folder / "other.bin").write_bytes(FRAMES[0].tobytes())
    (folder / "e.edf").write_bytes(header + b" " * (1022 - len(header)) + b"}\n")
    return folder / "e.edf"


def text(folder: Path) -> Path:
    (folder / "notes.txt").write_text("no frames")
    return folder / "notes.txt"


def empty(folder: Path) -> Path:
    (folder / "empty.h5").write_bytes(b"")
    return folder / "empty.h5"


def flat(folder: Path) -> Path:
    np.savez(folder / "flat.npz", frames=FRAMES.ravel())
    return folder / "flat.npz"


def objects(folder: Path) -> Path:
    np.savez(folder / "objects.npz", allow_pickle=True, frames=np.full((2, 40, 50), None))
    return folder / "objects.npz"


CASES: list[tuple[str, Callable[[Path], Path], str]] = [
    ("a link to another folder, absolute", external_link, "in another folder: that is not followed"),
    ("relative", relative_link_out, "in another folder: that is not followed"),
    ("of a group above the frames", group_linked_out, "in another folder: that is not followed"),
    ("a data file that is a symbolic link", symbolic_link, "in another folder: that is not followed"),
    ("over a file in the folder", over_a_file_in_the_folder, "in another folder: that is not followed"),
    ("a virtual dataset of another folder", virtual_of_elsewhere, "in another folder: that is not followed"),
    ("a virtual dataset of such a one", virtual_of_a_virtual, "in another folder: that is not followed"),
    ("HDF5 would give fill values", virtual_with_a_gap, "part1.h5 is not there, from which"),
    ("values outside of HDF5", raw_data, "which is no HDF5 file: not followed"),
    ("links in a circle", circle, "lead round in circles"),
    ("nothing says which dataset", two_datasets, r"it holds a/first \(6, 40, 50\), b/second \(2, 40, 50\)"),
    ("none that could be frames", no_images, r"it holds spectrum \(6, 2000\)"),
    ("a filter that nobody has", foreign_filter, "compressed by filter 31999"),
    ("a copy that was broken off", truncated, "is truncated: it ends after"),
    ("colours", colours, "holds colours"),
    ("pages of two sizes", unlike_pages, "the pages of .* are unlike"),
    ("files of two dtypes", unlike_files, "frames read together must be alike"),
    ("EDF with a file of pixels", edf_with_pixels_elsewhere, "that is not followed"),
    ("an array of one axis", flat, r"must have the shape \(frames, rows, columns\)"),
    ("an array of objects", objects, "must hold real numbers"),
    ("no frames at all", text, "neither HDF5, .npy, .npz, TIFF, CBF or EDF"),
    ("nothing", empty, "is empty"),
    ("a pattern without files", lambda folder: folder / "x*.tif", "nothing is called so"),
    ("a folder", lambda folder: folder, "no file but a folder"),
]


@pytest.mark.parametrize(("reason", "write", "message"), CASES, ids=[case[0] for case in CASES])
def test_what_cannot_be_read_is_said(
    reason: str, write: Callable[[Path], Path], message: str, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        frames = open_frames(write(tmp_path))
        next(frames.read_blocks(6))
    assert open_files(tmp_path) == [], "it was refused, and left open"
    del refused  # until here its traceback has kept what opened the file


def open_files(folder: Path) -> list[str]:
    """Give the files of a folder that this process has open."""
    links = [link for link in Path("/proc/self/fd").iterdir() if link.is_symlink()]
    return [path for link in links if (path := os.readlink(link)).startswith(f"{folder}{os.sep}")]


def test_a_folder_that_was_moved_takes_its_absolute_links_with_it(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir()
    hdf5(old / "x_data_000001.h5")
    with h5py.File(old / "x_master.h5", "w") as master:
        master["frames"] = h5py.ExternalLink(str(old / "x_data_000001.h5"), DATA)
    old.rename(new)
    assert open_frames(new / "x_master.h5").shape == FRAMES.shape


def test_a_master_that_is_itself_a_symbolic_link_is_read_where_it_lies(tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    os.symlink(eiger(there), tmp_path / "link.h5")
    assert open_frames(tmp_path / "link.h5").shape == FRAMES.shape


def test_a_virtual_dataset_takes_the_file_in_its_folder_not_that_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, here = tmp_path / "data", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    hdf5(here / "part0.h5", data=FRAMES[:3] + 1)
    path = virtual(folder)
    monkeypatch.chdir(here)
    np.testing.assert_array_equal(next(open_frames(path).read_blocks(6)), FRAMES)


def test_the_working_directory_has_no_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HDF5 itself would look there for a linked file."""
    folder, here = tmp_path / "data", tmp_path / "here"
    folder.mkdir()
    here.mkdir()
    hdf5(here / "x_data_000001.h5")
    with h5py.File(folder / "x_master.h5", "w") as master:
        master["frames"] = h5py.ExternalLink("x_data_000001.h5", DATA)
    monkeypatch.chdir(here)
    with pytest.raises(ValueError, match="x_data_000001.h5 is not there"):
        open_frames(folder / "x_master.h5")
