"""What an HDF5 file says of its detector: the attributes that we write, NeXus, and the master of an Eiger."""

from __future__ import annotations

import math
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from speckle_plugin.frames.hdf5_files import HDF5Files
from speckle_plugin.frames.source import FrameFileError, Statements
from speckle_plugin.frames.truth import checked_truth, stated_pair
from speckle_plugin.scattering.units import k_step_of, to_meters

__all__ = ["find_detector_mask", "read_statements"]

MASKS = ("pixel_mask", "detectorSpecific/pixel_mask", "pixel_mask_applied")
WAVELENGTHS = (
    "instrument/beam/incident_wavelength",
    "instrument/beam/wavelength",
    "instrument/monochromator/wavelength",
    "sample/beam/incident_wavelength",
    "instrument/source/wavelength",
)
DISTANCES = ("distance", "detector_distance")
SATURATIONS = (
    "saturation_value",
    "detectorSpecific/saturation_value",
    "detectorSpecific/countrate_correction_count_cutoff",
    "countrate_correction_count_cutoff",
)


def read_statements(
    files: HDF5Files, name: str = "", shape: tuple[int, int, int] | None = None
) -> Statements:
    """Read what a file says of its frames.

    Parameters
    ----------
    files : HDF5Files
    name : str
        The dataset of frames; empty for a file that only describes a detector.
    shape : tuple of int, optional
        Frames, rows, columns; a mask of another shape is not taken.

    Raises
    ------
    FrameFileError
        If the truth or the beam centre that `speckle simulate` writes is not what it should be.
    """
    extra: dict[str, Any] = dict(files.root.attrs)
    if name:
        frames = files.find(name)
        extra |= dict(frames.attrs)
        if "disk_number" in frames.parent:
            extra["disk_number"] = frames.parent["disk_number"][()]
    detector, entry = _detector(files, name)
    center = stated_pair(files.path, extra.get("beam_center"))
    k_step = extra.get("k_step", extra.get("pitch"))
    mask = find_detector_mask(files, detector)
    if mask is not None and shape is not None and mask.shape != shape[1:]:
        mask = None
    return Statements(
        disk_number=checked_truth(files.path, extra.get("disk_number"), shape[0]) if shape else None,
        beam_center=center or _beam_center(files, detector),
        k_step=float(np.asarray(k_step)) if k_step is not None else _k_step(files, detector, entry),
        saturation_level=_first(files, detector, SATURATIONS),
        mask=mask,
    )


def find_detector_mask(files: HDF5Files, detector: str | None = None) -> NDArray[np.bool_] | None:
    """Give the `pixel_mask` of a NXdetector group, by default that of the file.

    Its values are NeXus' bits, 0 for a good pixel; a frame's shape, or (1, rows, columns).
    """
    if detector is None:
        detector, _ = _detector(files, "")
    for name in MASKS if detector else ():
        data = _get(files, f"{detector}/{name}")
        if isinstance(data, h5py.Dataset) and data.dtype.kind in "biu" and data.ndim in (2, 3):
            files.check(data)
            bits = data[()]
            if bits.ndim == 3 and bits.shape[0] == 1:
                bits = bits[0]
            if bits.ndim == 2:
                return bits != 0
    return None


def _detector(files: HDF5Files, name: str) -> tuple[str, str]:
    """Give the names of the NXdetector group and of its entry; empty where there is none."""
    entry = _first_of_class(files, "", "NXentry") or ("entry" if _get(files, "entry") else "")
    parts = name.strip("/").split("/")
    for end in range(len(parts) - 1, 0, -1):  # the frames may lie in it
        here = "/".join(parts[:end])
        if _class(_get(files, here)) == "NXdetector":
            return here, entry
    instrument = _first_of_class(files, entry, "NXinstrument") or f"{entry}/instrument"
    detector = _first_of_class(files, instrument, "NXdetector")
    if not detector and isinstance(_get(files, f"{instrument}/detector"), h5py.Group):
        detector = f"{instrument}/detector"
    return detector, entry


def _first_of_class(files: HDF5Files, group: str, wanted: str) -> str:
    node = _get(files, group)
    for child in node if isinstance(node, h5py.Group) else ():
        here = f"{group}/{child}".strip("/")
        if _class(_get(files, here)) == wanted:
            return here
    return ""


def _class(node: Any) -> str:
    value = node.attrs.get("NX_class", "") if isinstance(node, h5py.Group) else ""
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _get(files: HDF5Files, name: str) -> Any:
    """Give an object; None where there is none, or it lies in another folder."""
    try:
        return files.find(name)
    except (KeyError, FrameFileError):
        return None


def _number(files: HDF5Files, name: str) -> tuple[float | None, str]:
    """Give a number and its unit; None where there is no single finite one."""
    data = _get(files, name)
    if (
        not isinstance(data, h5py.Dataset)
        or data.dtype.kind not in "iuf"
        or data.size is None
        or data.size < 1
    ):
        return None, ""
    values = np.unique(data[()])
    unit = data.attrs.get("units", "")
    text = unit.decode(errors="replace") if isinstance(unit, bytes) else str(unit)
    if len(values) != 1 or not math.isfinite(values[0]):
        return None, text
    return float(values[0]), text


def _length(files: HDF5Files, group: str, names: tuple[str, ...], default: str) -> float | None:
    """Give the first positive length of some names, in metres."""
    for name in names:
        value, unit = _number(files, f"{group}/{name}")
        meters = None if value is None else to_meters(value, unit, default)
        if meters is not None and meters > 0:
            return meters
    return None


def _first(files: HDF5Files, group: str, names: tuple[str, ...]) -> float | None:
    for name in names if group else ():
        value, _ = _number(files, f"{group}/{name}")
        if value is not None and value > 0:
            return value
    return None


def _beam_center(files: HDF5Files, detector: str) -> tuple[float, float] | None:
    """Give (row, column) of NeXus' beam_center_y and beam_center_x; an Eiger's (0, 0) says nothing."""
    center: list[float] = []
    for axis in ("y", "x") if detector else ():
        value, unit = _number(files, f"{detector}/beam_center_{axis}")
        if value is None:
            return None
        length = None if unit.lower().startswith("pixel") else to_meters(value, unit, "pixels")
        if length is not None:
            pixel = _length(files, detector, (f"{axis}_pixel_size",), "m")
            if pixel is None:
                return None
            value = length / pixel
        center.append(value)
    return (center[0], center[1]) if any(center) else None


def _k_step(files: HDF5Files, detector: str, entry: str) -> float | None:
    if not detector:
        return None
    wavelength = _length(files, entry, WAVELENGTHS, "angstrom")
    distance = _length(files, detector, DISTANCES, "m")
    height, width = (_length(files, detector, (f"{axis}_pixel_size",), "m") for axis in ("y", "x"))
    return k_step_of(wavelength, distance, (height, width))
