"""Beam centre and k step from a file that describes an experiment: pyFAI's PONI, or NeXus."""

from __future__ import annotations

import json
import math
from pathlib import Path

import h5py

from speckle_plugin.frames.hdf5_files import HDF5Files
from speckle_plugin.frames.nexus import read_statements
from speckle_plugin.frames.source import FrameFileError, Statements
from speckle_plugin.scattering.units import k_step_of

__all__ = ["read_geometry"]

LARGEST_FILE = 1 << 20


def read_geometry(path: Path) -> Statements:
    """Read beam centre and k step.

    Parameters
    ----------
    path : Path
        A PONI file of pyFAI, or an HDF5 file with a NXdetector group, such as the master of an Eiger.

    Returns
    -------
    Statements
        At least the beam centre is there.

    Raises
    ------
    ValueError
        If it is neither, or does not say where the beam is.
    """
    if not path.is_file():
        raise FrameFileError(f"no file {path}: give a PONI file or a NeXus file")
    if h5py.is_hdf5(path):
        files = HDF5Files(path)
        try:
            statements = read_statements(files)
        finally:
            files.close()
        if statements.beam_center is None:
            raise FrameFileError(f"{path} holds no beam_center_x and beam_center_y of a NXdetector")
        return statements
    return _read_poni(path)


def _read_poni(path: Path) -> Statements:
    """Read a PONI file: the point of normal incidence in metres from the outer corner of pixel (0, 0).

    Where the detector is tilted, the beam does not hit it at that point. Source: the rotations of
    `calc_pos_zyx` in pyFAI.geometry.core (J. Kieffer and J. P. Wright, Powder Diffr. 28, S339 (2013)).
    """
    values: dict[str, str] = {}
    if path.stat().st_size <= LARGEST_FILE:
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            key, colon, value = line.partition(":")
            if colon and not line.startswith("#"):
                values[key.strip().lower()] = value.strip()  # the last one counts, as in pyFAI
    try:
        distance, poni1, poni2 = (float(values[key]) for key in ("distance", "poni1", "poni2"))
        rot1, rot2 = (float(values.get(key, 0.0)) for key in ("rot1", "rot2"))
        pixel1, pixel2 = _pixel(values)
        wavelength = float(values["wavelength"]) if "wavelength" in values else None
    except (KeyError, ValueError, TypeError, AttributeError) as error:
        raise FrameFileError(
            f"{path} is no PONI file with Distance, Poni1, Poni2 and a pixel size, nor a NeXus file: {error}"
        ) from None
    if not (pixel1 > 0 and pixel2 > 0 and distance > 0):
        raise FrameFileError(f"{path}: distance and pixel sizes must be positive")
    row = (poni1 + distance * math.tan(rot2) / math.cos(rot1)) / pixel1 - 0.5
    column = (poni2 - distance * math.tan(rot1)) / pixel2 - 0.5
    if not (math.isfinite(row) and math.isfinite(column)):
        raise FrameFileError(f"{path} gives no finite beam centre")
    along_the_beam = distance / (math.cos(rot1) * math.cos(rot2))
    return Statements(
        beam_center=(row, column), k_step=k_step_of(wavelength, along_the_beam, (pixel1, pixel2))
    )


def _pixel(values: dict[str, str]) -> tuple[float, float]:
    """Give height and width of a pixel, in metres, by either version of the format."""
    if "pixelsize1" in values:
        return float(values["pixelsize1"]), float(values["pixelsize2"])
    configuration = json.loads(values.get("detector_config", "{}"))
    if "pixel1" not in configuration:
        name = values.get("detector", "of no name")
        raise ValueError(f"its pixel size is known to pyFAI only (detector {name}): add pixel1 and pixel2")
    if configuration.get("orientation", 3) not in (0, 3):
        raise ValueError("its detector has another orientation than pyFAI's usual one (3): not known here")
    return float(configuration["pixel1"]), float(configuration["pixel2"])
