"""What the images of a stream are to the classifier: frames to label, dark frames, flat fields, or neither.

The one place where this is decided, live and for stored runs, by the names of stream and data key and by
what the user said. Dark frames are taken with the shutter closed, such as those of bluesky-darkframes, which
are in a stream `dark` under the same data key as the frames with light. Flat fields are taken in light that
is the same on all pixels.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase

__all__ = ["Role", "choose_correction", "matches", "role_by_name"]


class Role(Enum):
    """What images are."""

    LIGHT = "light"
    """Frames to classify."""
    DARK = "dark"
    FLAT = "flat"
    LEFT_OUT = "left out"
    """The user does not want them classified."""


def _called(word: str) -> re.Pattern[str]:
    kinds = r"(?:s|[_-]?frames?|[_-]?fields?)?"
    # A flat panel is a kind of detector.
    return re.compile(rf"[_\-.]?(?<![a-z]){word}{kinds}(?![a-z]|[_-]?panel)", re.IGNORECASE)


NAMES = {Role.DARK: _called("dark"), Role.FLAT: _called("flat")}
"""How images are called that correct others; dark frames for flat fields are dark frames."""


def matches(patterns: Iterable[str], stream: str, data_key: str) -> bool:
    """Tell whether one of some patterns means the images of a stream.

    Parameters
    ----------
    patterns : iterable of str
        A stream, a data key or `STREAM/KEY`; `*` stands for anything.
    stream, data_key : str
    """
    names = (stream, data_key, f"{stream}/{data_key}")
    return any(fnmatchcase(name, pattern) for pattern in patterns for name in names)


def role_by_name(stream: str, data_key: str) -> Role:
    """Tell what images are by their names (`dark/det_image`, `det_dark`, `flat_field`); else with light."""
    names = (stream, data_key)
    return next((role for role in NAMES if any(map(NAMES[role].search, names))), Role.LIGHT)


def choose_correction(
    role: Role, device: str, data_key: str, every: Iterable[tuple[str, str]]
) -> tuple[str, str] | None:
    """Choose the dark frames, or the flat fields, of a detector; None if none are its.

    Parameters
    ----------
    role : Role
        Which of them are meant.
    device, data_key : str
        Of the frames with light.
    every : iterable of (device, data key)
        Of those that there are. Those under the same data key come first, then those under one that is named
        after it (`det_dark_image` for `det_image`), then those of the same device.
    """
    every = list(every)
    by_key = [found for found in every if found[1] == data_key]
    by_name = [found for found in every if NAMES[role].sub("", found[1]).strip("_-.") == data_key]
    by_device = [found for found in every if device and found[0] == device]
    return next(iter([*by_key, *by_name, *by_device]), None)
