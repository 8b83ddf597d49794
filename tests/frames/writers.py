"""Write the same six frames in every format and layout that is read, with the libraries of each."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import tifffile
from fabio.cbfimage import CbfImage
from fabio.edfimage import EdfImage

FRAMES = np.random.default_rng(0).poisson(50.0, (6, 40, 50)).astype(np.uint32)
"""Six frames, rows and columns of unlike number."""

DATA = "entry/data/data"


def hdf5(path: Path, name: str = DATA, data: Any = FRAMES, **options: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.create_dataset(name, data=data, **options)
    return path


def compressed(options: Any) -> Callable[[Path], Path]:
    return lambda folder: hdf5(folder / "c.h5", chunks=(1, 40, 50), **options)


def eiger(folder: Path, group: str = "entry/data") -> Path:
    """A master with links to two data files beside it, as Dectris' file writer makes them."""
    with h5py.File(folder / "x_master.h5", "w") as master:
        for number in (1, 2):
            name = f"x_data_{number:06d}.h5"
            hdf5(folder / name, data=FRAMES[3 * number - 3 : 3 * number])
            master.require_group(group)[f"data_{number:06d}"] = h5py.ExternalLink(name, DATA)
    return folder / "x_master.h5"


def virtual(folder: Path) -> Path:
    layout = h5py.VirtualLayout(FRAMES.shape, FRAMES.dtype)
    for number in range(2):
        hdf5(folder / f"part{number}.h5", data=FRAMES[3 * number : 3 * number + 3])
        layout[3 * number : 3 * number + 3] = h5py.VirtualSource(f"part{number}.h5", DATA, (3, 40, 50))
    with h5py.File(folder / "v.h5", "w", libver="latest") as file:
        file.create_group("entry/data")
        file.create_virtual_dataset(DATA, layout, fillvalue=7)
    return folder / "v.h5"


def nexus_default(folder: Path) -> Path:
    with h5py.File(folder / "n.h5", "w") as file:
        file["scan/detector/images"] = FRAMES
        file["scan/detector/others"] = FRAMES[::-1]
        file["scan/plot"] = h5py.SoftLink("/scan/detector")
        file.attrs["default"] = "scan"
        file["scan"].attrs["default"] = "plot"
        file["scan/detector"].attrs["signal"] = np.array([b"images"])
    return folder / "n.h5"


def nexus_old_default(folder: Path) -> Path:
    with h5py.File(folder / "o.h5", "w") as file:
        file["entry/data/first"] = FRAMES[::-1]
        file["entry/data/second"] = FRAMES
        file["entry/data"].attrs["NX_class"] = "NXdata"
        file["entry/data/second"].attrs["signal"] = 1
        file.attrs["default"] = "entry/data"
    return folder / "o.h5"


def soft_link(folder: Path) -> Path:
    with h5py.File(folder / "s.h5", "w") as file:
        file["entry/instrument/detector/data"] = FRAMES
        file.create_group("entry/data")["data"] = h5py.SoftLink("/entry/instrument/detector/data")
    return folder / "s.h5"


def hard_linked_twice(folder: Path) -> Path:
    with h5py.File(folder / "h.h5", "w") as file:
        file["entry/instrument/detector/stack"] = FRAMES
        file.create_group("entry/other")["stack"] = file["entry/instrument/detector/stack"]
    return folder / "h.h5"


def only_images(folder: Path) -> Path:
    with h5py.File(folder / "i.h5", "w") as file:
        file["a/images"], file["a/pixel_mask"], file["a/times"] = FRAMES, np.zeros((40, 50)), np.arange(6.0)
    return folder / "i.h5"


def behind_a_user_block(folder: Path) -> Path:
    with h5py.File(folder / "u.h5", "w", userblock_size=512) as file:
        file[DATA] = FRAMES
    return folder / "u.h5"


def tiff(folder: Path) -> Path:
    tifffile.imwrite(folder / "t.tif", FRAMES.astype(np.uint16), photometric="minisblack")
    return folder / "t.tif"


def big_tiff(folder: Path) -> Path:
    tifffile.imwrite(
        folder / "b.tif", FRAMES, photometric="minisblack", bigtiff=True, byteorder=">", compression="zlib"
    )
    return folder / "b.tif"


def tiff_sequence(folder: Path) -> Path:
    for number, frame in enumerate(FRAMES):
        tifffile.imwrite(folder / f"s_{number + 7}.tif", frame)  # 7 .. 12: not in the order of letters
    return folder / "s_*.tif"


def cbf_sequence(folder: Path) -> Path:
    for number, frame in enumerate(FRAMES):
        CbfImage(data=frame.astype(np.int32)).write(str(folder / f"c_{number:05d}.cbf"))
    return folder / "c_*.cbf"


def edf(folder: Path) -> Path:
    image = EdfImage(data=FRAMES[0], header={})
    for frame in FRAMES[1:]:
        image.append_frame(data=frame, header={})
    image.write(str(folder / "e.edf"))
    return folder / "e.edf"


def npy(folder: Path) -> Path:
    np.save(folder / "n.npy", FRAMES)
    return folder / "n.npy"


def npz(folder: Path) -> Path:
    np.savez_compressed(folder / "any.npz", images=FRAMES, mask=np.zeros((40, 50), bool), times=np.arange(6))
    return folder / "any.npz"


LAYOUTS: dict[str, tuple[Callable[[Path], Path], str | None]] = {
    # name: (how it is written, the dataset that is said)
    "where AreaDetector puts frames": (lambda folder: hdf5(folder / "a.h5"), None),
    "bitshuffle and LZ4, an Eiger's default": (compressed(hdf5plugin.Bitshuffle(cname="lz4")), None),
    "LZ4, an Eiger's other one": (compressed(hdf5plugin.LZ4()), None),
    "Blosc, of AreaDetector": (compressed(hdf5plugin.Blosc()), None),
    "zstd": (compressed(hdf5plugin.Zstd()), None),
    "gzip, which HDF5 has itself": (compressed({"compression": "gzip"}), None),
    "an Eiger's master: all its data files": (eiger, None),
    "an Eiger's first firmware": (lambda folder: eiger(folder, "entry"), None),
    "the group of a master": (eiger, "/entry/data"),
    "a virtual dataset of files in the folder": (virtual, None),
    "NeXus' default, through a soft link": (nexus_default, None),
    "NeXus' older default": (nexus_old_default, None),
    "a dataset that is said, against the default": (nexus_default, "scan/detector/images"),
    "a group whose default it is": (nexus_default, "/scan/plot/"),
    "a soft link": (soft_link, None),
    "the first name of a dataset linked twice": (hard_linked_twice, "entry/instrument/detector/stack"),
    "the second name": (hard_linked_twice, "/entry/other/stack"),
    "neither of them": (hard_linked_twice, None),
    "the only dataset of images": (only_images, None),
    "events of several frames": (
        lambda folder: hdf5(folder / "4.h5", data=FRAMES.reshape(2, 3, 40, 50)),
        None,
    ),
    "ophyd-async's events of one": (lambda folder: hdf5(folder / "1.h5", data=FRAMES[:, None]), None),
    "five axes": (lambda folder: hdf5(folder / "5.h5", data=FRAMES.reshape(1, 3, 2, 40, 50)), None),
    "a user block before HDF5's own": (behind_a_user_block, None),
    "TIFF with several pages": (tiff, None),
    "big TIFF, of the other byte order, compressed": (big_tiff, None),
    "TIFF, a file for each frame": (tiff_sequence, None),
    "CBF, a file for each frame": (cbf_sequence, None),
    "EDF with several frames": (edf, None),
    "npy": (npy, None),
    "npz with a key of its own": (npz, None),
    "npz, the key said": (npz, "images"),
}
