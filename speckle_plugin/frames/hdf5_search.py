"""Which dataset of an HDF5 file holds the frames, where nobody said."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

import h5py

from speckle_plugin.documents.shapes import SMALLEST_FRAME
from speckle_plugin.frames.hdf5_files import HDF5Files
from speckle_plugin.frames.source import FrameFileError

__all__ = ["DEFAULT_DATASETS", "find_frames", "listed"]

DEFAULT_DATASETS = ("frames", "entry/data/data")
"""What `speckle simulate` writes, and where AreaDetector and the simulated detector put frames."""

MOST_NAMES = 12
"""So many datasets are named in an error, no more."""

SERIES = re.compile(r"^(?P<stem>.*/)?data_\d{6}$")
"""Name of one of the datasets into which an Eiger's file writer divides its frames."""

NO_FRAMES = re.compile(r"mask|flatfield|background|dark", re.IGNORECASE)
"""Images of this name are no frames."""


def find_frames(files: HDF5Files, said: str | None) -> tuple[list[str], str]:
    """Give the names of the datasets that hold the frames, one after the other.

    Several are the `data_000001`, `data_000002`, ... of an Eiger. In this order: what was said (a dataset,
    or a group whose default or series it is); `frames`; NeXus' defaults; `/entry/data/data`; an Eiger's
    series; the only dataset of three and more dimensions that can be frames; the only one of two.

    Parameters
    ----------
    files : HDF5Files
    said : str or None

    Returns
    -------
    names : list of str
    missing : str
        Why the series ends before its names do; empty if it does not.

    Raises
    ------
    FrameFileError
        If there is none, or more than one that could be meant; they are listed.
    """
    if said is not None:
        return _said(files, said)
    ours, area_detector = DEFAULT_DATASETS
    if isinstance(_get(files, ours), h5py.Dataset):
        return [ours], ""
    if (default := _nexus_default(files)) is not None and _is_image(_get(files, default)):
        return _with_its_series(files, default)
    if isinstance(_get(files, area_detector), h5py.Dataset):
        return [area_detector], ""
    for group in ("entry/data", "entry"):
        if series := _series(files, group):
            return series
    images = {name: data for name, data in files.walk() if _is_image(data) and not NO_FRAMES.search(name)}
    for most in (True, False):
        names = [name for name, data in images.items() if (data.ndim > 2) == most]
        if len(names) == 1:
            return _with_its_series(files, names[0])
        if len(names) > 1:
            if len({SERIES.sub(r"\g<stem>", name) for name in names}) == 1 and SERIES.match(names[0]):
                return _with_its_series(files, names[0])
            raise FrameFileError(
                f"{files.path} holds several datasets that could be frames: choose by `dataset`; it holds "
                f"{listed(f'{name} {images[name].shape}' for name in names)}"
            )
    if files.refused:
        raise files.refused[0]
    raise FrameFileError(
        f"{files.path} holds neither {' nor '.join(map(repr, DEFAULT_DATASETS))}, nor another dataset of "
        f"images of at least {SMALLEST_FRAME} x {SMALLEST_FRAME} pixels: choose by `dataset`; it holds "
        f"{listed(_shaped(files))}"
    )


def listed(names: Iterable[str]) -> str:
    """Join names for an error, not too many."""
    every = list(names)
    text = ", ".join(every[:MOST_NAMES]) or "nothing"
    return text if len(every) <= MOST_NAMES else f"{text} and {len(every) - MOST_NAMES} more"


def _said(files: HDF5Files, said: str) -> tuple[list[str], str]:
    try:
        node = files.find(said)
    except KeyError:
        raise FrameFileError(
            f"{files.path} holds no dataset {said!r}: choose by `dataset`; it holds {listed(_shaped(files))}",
            not_yet=True,
        ) from None
    if isinstance(node, h5py.Dataset):
        return [said], ""
    if isinstance(node, h5py.Group):
        name = said.strip("/")
        signal = _signal(files, name)
        if signal is not None:
            return _with_its_series(files, signal)
        if series := _series(files, name):
            return series
    raise FrameFileError(
        f"{said!r} of {files.path} is neither a dataset nor a group with a default one: it holds "
        f"{listed(_shaped(files))}"
    )


def _shaped(files: HDF5Files) -> list[str]:
    return [f"{name} {data.shape}" for name, data in files.walk()]


def _get(files: HDF5Files, name: str) -> Any:
    try:
        return files.find(name)
    except KeyError:
        return None


def _is_image(node: Any) -> bool:
    return (
        isinstance(node, h5py.Dataset)
        and node.dtype.kind in "biuf"
        and node.shape is not None
        and len(node.shape) >= 2
        and min(node.shape[-2:]) >= SMALLEST_FRAME
    )


def _nexus_default(files: HDF5Files) -> str | None:
    """Follow the attributes `default` from the root to a group with `signal`."""
    here = ""
    for _ in range(8):
        group = _get(files, here)
        if not isinstance(group, h5py.Group):
            return None
        if (signal := _signal(files, here)) is not None:
            return signal
        step = _text(group.attrs.get("default"))
        if not step:
            return None
        here = step.strip("/") if step.startswith("/") else f"{here}/{step}".strip("/")
    return None


def _signal(files: HDF5Files, group: str) -> str | None:
    """Give the dataset that a NXdata group names as its signal, in either of NeXus' ways."""
    node = _get(files, group)
    name = _text(node.attrs.get("signal"))
    if name:
        return f"{group}/{name}".strip("/")
    if _text(node.attrs.get("NX_class")) != "NXdata":
        return None
    for child in node:
        data = _get(files, f"{group}/{child}")
        if isinstance(data, h5py.Dataset) and _text(data.attrs.get("signal")) in ("1", "1.0"):
            return f"{group}/{child}".strip("/")
    return None


def _with_its_series(files: HDF5Files, name: str) -> tuple[list[str], str]:
    match = SERIES.match(name)
    series = _series(files, (match["stem"] or "").strip("/")) if match else None
    return series or ([name], "")


def _series(files: HDF5Files, group: str) -> tuple[list[str], str] | None:
    """Give an Eiger's datasets in their order, up to the first whose file is not there."""
    node = _get(files, group)
    if not isinstance(node, h5py.Group):
        return None
    names = sorted(f"{group}/{child}".strip("/") for child in node if SERIES.match(child))
    for number, name in enumerate(names):
        try:
            _get(files, name)
        except FrameFileError as error:
            if not number or not error.not_yet:
                raise
            return names[:number], str(error)
    return (names, "") if names else None


def _text(value: Any) -> str:
    """Read a text attribute, which may be bytes, or one in an array."""
    if value is None:
        return ""
    if getattr(value, "shape", ()) == (1,):
        value = value[0]
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
