"""Values that a detector's configuration attributes state, as documents hold them."""

from __future__ import annotations

from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from speckle_plugin.scattering.units import k_step_of, to_meters

__all__ = ["center_by_names", "k_step_by_names", "number", "stated_value"]

DEFAULT_UNITS = ("angstrom", "m", "m")
"""Of wavelength, distance and size of a pixel, where a data key names none: those of EPICS' Eiger."""


def stated_value(configuration: Mapping[str, Any], name: str, suffix: str) -> Any:
    """Give what stands under `det_beam_center` (ophyd), or under `det-beam_center` (ophyd-async)."""
    stated = configuration.get(f"{name}{suffix}")
    return configuration.get(f"{name}-{suffix.removeprefix('_')}") if stated is None else stated


def center_by_names(configuration: Mapping[str, Any], names: tuple[str, str]) -> tuple[float, float] | None:
    """Give row and column of the beam from two configuration attributes; None where one states no number."""
    row, column = (_by_name(configuration, pattern)[1] for pattern in names)
    return None if row is None or column is None else (row, column)


def k_step_by_names(
    configuration: Mapping[str, Any], data_keys: Mapping[str, Mapping[str, Any]], names: tuple[str, str, str]
) -> float | None:
    """Give the wave number per pixel, in 1/nm, from wavelength, distance and the size of a square pixel.

    Parameters
    ----------
    configuration : mapping
        The detector's configuration attributes.
    data_keys : mapping
        Of these; their units count, or else `DEFAULT_UNITS`.
    names : (str, str, str)
        Of wavelength, distance from the sample, and pixel size; `*` stands for anything.

    Returns
    -------
    float or None
        None where one of them states no positive length.
    """
    lengths = []
    for pattern, default in zip(names, DEFAULT_UNITS, strict=True):
        key, value = _by_name(configuration, pattern)
        unit = str(data_keys.get(key, {}).get("units") or "")
        lengths.append(None if value is None else to_meters(value, unit, default))
    wavelength, distance, pixel = lengths
    return k_step_of(wavelength, distance, (pixel, pixel))


def _by_name(configuration: Mapping[str, Any], pattern: str) -> tuple[str, float | None]:
    """Give the first attribute of a name, and its value if it is a number."""
    for key, value in sorted(configuration.items()):
        if fnmatchcase(key, pattern):
            known = isinstance(value, int | float | np.number) and np.isfinite(value)
            return key, float(value) if known else None
    return "", None


def number(stated: Any) -> float | None:
    """Give a number that a detector states; text, arrays and 0 count as not stated."""
    try:
        return float(stated) or None
    except (TypeError, ValueError):
        return None
