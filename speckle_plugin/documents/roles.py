"""What the images of a stream are to the classifier: frames to label, dark frames, or neither.

The one place where this is decided, live and for stored runs, by the names of stream and data key and by
what the user said. Dark frames are taken with the shutter closed, such as those of bluesky-darkframes, which
are in a stream `dark` under the same data key as the frames with light.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from fnmatch import fnmatchcase

__all__ = ["Role", "choose_dark", "is_called_dark", "matches"]

DARK = re.compile(r"[_\-.]?(?<![a-z])dark(?:s|[_-]?frames?|[_-]?fields?)?(?![a-z])", re.IGNORECASE)


class Role(Enum):
    """What images are."""

    LIGHT = "light"
    """Frames to classify."""
    DARK = "dark"
    LEFT_OUT = "left out"
    """The user does not want them classified."""


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


def is_called_dark(stream: str, data_key: str) -> bool:
    """Tell whether images are dark frames by their names: `dark/det_image`, `det_dark`, `dark_frames`."""
    return bool(DARK.search(stream) or DARK.search(data_key))


def choose_dark(device: str, data_key: str, darks: Iterable[tuple[str, str]]) -> tuple[str, str] | None:
    """Choose the dark frames of a detector; None if none are its.

    Parameters
    ----------
    device, data_key : str
        Of the frames with light.
    darks : iterable of (device, data key)
        Of the dark frames that there are. Those under the same data key come first, then those under one that
        is named after it (`det_dark_image` for `det_image`), then those of the same device.
    """
    every = list(darks)
    by_key = [dark for dark in every if dark[1] == data_key]
    by_name = [dark for dark in every if DARK.sub("", dark[1]).strip("_-.") == data_key]
    by_device = [dark for dark in every if device and dark[0] == device]
    return next(iter([*by_key, *by_name, *by_device]), None)
