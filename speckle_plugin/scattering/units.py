"""Lengths in the units that files write them in, and the k step that follows from them."""

from __future__ import annotations

import math

__all__ = ["METERS", "k_step_of", "to_meters"]

METERS = {
    "m": 1.0,
    "meter": 1.0,
    "metre": 1.0,
    "cm": 1e-2,
    "mm": 1e-3,
    "um": 1e-6,
    "µm": 1e-6,
    "μm": 1e-6,
    "micron": 1e-6,
    "nm": 1e-9,
    "a": 1e-10,
    "å": 1e-10,
    "ang": 1e-10,
    "angstrom": 1e-10,
    "pm": 1e-12,
}
"""Lengths of the units that files name, in metres."""

LARGEST_ANISOTROPY = 1e-3
"""Relative difference of the two sides of a pixel up to which it counts as a square."""


def to_meters(value: float, unit: str, default: str) -> float | None:
    """Give a length in metres; None where the unit is not one of length.

    Parameters
    ----------
    value : float
    unit : str
        As it is written; plural and case do not matter.
    default : str
        Unit where none is written.
    """
    name = (unit or default).strip().lower()
    factor = METERS.get(name) or METERS.get(name.removesuffix("s"))
    return None if factor is None else value * factor


def k_step_of(
    wavelength: float | None, distance: float | None, pixel: tuple[float | None, float | None]
) -> float | None:
    """Work out the wave number per pixel, in 1/nm, near the beam: 2 pi pixel / (wavelength distance).

    Parameters
    ----------
    wavelength, distance : float or None
        In metres.
    pixel : (float or None, float or None)
        Height and width of a pixel in metres.

    Returns
    -------
    float or None
        None where one of them is missing or not positive, or the pixel is no square: a frame of such has
        a k step for each axis, and can't be folded.
    """
    values = (wavelength, distance, *pixel)
    if any(value is None or not (math.isfinite(value) and value > 0) for value in values):
        return None
    known = [float(value) for value in values if value is not None]
    if abs(known[2] / known[3] - 1.0) > LARGEST_ANISOTROPY:
        return None
    return 2e-9 * math.pi * known[2] / (known[0] * known[1])
