"""Masks from files: which pixels are to be left out, in whichever way a program wrote it."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

import h5py
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.hdf5_files import HDF5Files
from speckle_plugin.frames.hdf5_search import listed
from speckle_plugin.frames.nexus import find_detector_mask
from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.source import FrameFileError

__all__ = ["Polarity", "looks_inverted", "read_mask"]

Polarity = Literal["left-out", "used"]
"""What a 1 of a mask says of its pixel: left out (NeXus, silx, pyFAI, Fit2D), or used."""

MOST_LEFT_OUT = 0.5
"""Masks that leave out a larger part of the pixels look inverted."""


def read_mask(path: Path, polarity: Polarity = "left-out") -> NDArray[np.bool_]:
    """Read a mask, True where a pixel is to be left out.

    From .npy, .npz, TIFF, EDF, CBF, Fit2D's .msk or HDF5. Of several arrays it is the one called `mask`, or
    a master's `pixel_mask`.

    Parameters
    ----------
    path : Path
    polarity : {"left-out", "used"}
        What a value other than 0 says of its pixel.

    Raises
    ------
    ValueError
        If there is no such file or array, or its values are not those of a mask.
    """
    if polarity not in get_args(Polarity):
        raise ValueError(
            f"the polarity of a mask is one of {', '.join(get_args(Polarity))}, not {polarity!r}"
        )
    values = _read(path)
    if not _is_mask(values):
        raise FrameFileError(
            f"the mask in {path} must hold true and false (or 0 and one other number) for each pixel; it "
            f"holds {values.dtype} numbers of the shape {values.shape}"
        )
    marked = values != 0
    return marked if polarity == "left-out" else ~marked


def looks_inverted(mask: NDArray[np.bool_]) -> bool:
    """Tell whether a mask leaves out so much that its polarity is probably the other one."""
    return bool(mask.mean() > MOST_LEFT_OUT)


def _is_mask(values: NDArray[Any]) -> bool:
    if values.ndim != 2 or values.dtype.kind not in "biuf":
        return False
    if values.dtype.kind == "f" and not np.isin(values, (0, 1)).all():
        return False
    return values.dtype.kind == "b" or len(np.unique(values[values != 0])) <= 1


def _read(path: Path) -> NDArray[Any]:
    if not path.is_file():
        raise FrameFileError(f"no file {path}: give a file with a mask (.npy, .npz, TIFF, EDF or HDF5)")
    if h5py.is_hdf5(path):
        return _read_hdf5(path)
    try:
        with open_source(path, _name_in_npz(path)) as source:
            if source.shape[0] != 1:
                raise FrameFileError(f"it holds {source.shape[0]} images, not one")
            return source.read(0, 1)[0]
    except FrameFileError as error:
        raise FrameFileError(f"{path} can't be read as a mask: {error}") from error


def _name_in_npz(path: Path) -> str | None:
    import zipfile

    if not zipfile.is_zipfile(path):
        return None
    with zipfile.ZipFile(path) as archive:
        return _mask_name(path, [name.removesuffix(".npy") for name in archive.namelist()])


def _read_hdf5(path: Path) -> NDArray[Any]:
    files = HDF5Files(path)
    try:
        names = {name: data for name, data in files.walk() if len(data.shape or ()) >= 2}
        if "mask" not in names and (found := find_detector_mask(files)) is not None:
            return found
        values = files.dataset(_mask_name(path, list(names)))[()]
        return values[0] if values.ndim == 3 and len(values) == 1 else values
    finally:
        files.close()


def _mask_name(path: Path, names: list[str]) -> str:
    if "mask" in names:
        return "mask"
    if len(names) != 1:
        raise FrameFileError(f"{path} must hold one array, or one named 'mask'; it holds {listed(names)}")
    return names[0]
