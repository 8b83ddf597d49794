"""What is known of a frame beside its pixels: noise, point spread, radii; and how long to try."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

__all__ = ["Prior", "SolveSettings"]

NOISES = ("auto", "none", "counts", "rounded")


@dataclass(frozen=True)
class Prior:
    """What is known of the radii before the frame is seen; nothing is assumed without it.

    Parameters
    ----------
    equal : bool
        All disks have one radius.
    mean, deviation : float, optional
        Of a normal distribution of the radii, in units of length; both or neither.

    Raises
    ------
    ValueError
        If only one of mean and deviation is given, or either is not positive.
    """

    equal: bool = False
    mean: float | None = None
    deviation: float | None = None

    def __post_init__(self) -> None:
        if (self.mean is None) != (self.deviation is None):
            raise ValueError("a prior of the radii needs both mean and deviation, or neither")
        for name in ("mean", "deviation"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"the prior's {name} must be a positive length, not {value!r}")


@dataclass(frozen=True)
class SolveSettings:
    """How to solve a frame.

    Parameters
    ----------
    noise : {"auto", "none", "counts", "rounded"}
        `counts` are photons; `rounded` are intensities rounded to integers; `none` is a calculated frame,
        right to float32. `auto` takes a frame of integers for counts and any other for calculated.
    dark_level, readout_noise : float
        Mean of what the detector adds to each pixel, and its standard deviation, in the frame's units.
    point_spread : float
        Standard deviation of the detector's Gaussian blur, in pixels.
    saturation_level : float, optional
        Pixels that read this or more are left out. None: the largest value of an integer dtype.
    center_half_width : float
        Half width of the blocked square around the beam, in pixels; -1 if nothing is blocked.
    extent : float, optional
        Edge of a square that holds the sample, in units of length. None finds it in the frame.
    prior : Prior, optional
        What is known of the radii.
    smallest_radius : float, optional
        No disk of the sample is smaller. None: a tenth of the mean radius found. A frame is certified only
        where a disk of this radius could not hide.
    fit_center, fit_background : bool
        Fit the beam centre, or a constant background, where the frame asks for it.
    tolerance : float
        Of frames without noise: residual of the amplitudes at which they are explained. The default is that
        of float32. Frames that were calculated from disks on a raster need about 0.01; then something that is
        nearly of disks is certified too.
    most_disks : int
        Frames that need more are undecided.
    seed : int
        Of the random starts.
    budget : float
        Seconds after which no further start is tried.

    Raises
    ------
    ValueError
        If a setting is outside of its range.
    """

    noise: Literal["auto", "none", "counts", "rounded"] = "auto"
    dark_level: float = 0.0
    readout_noise: float = 0.0
    point_spread: float = 0.0
    saturation_level: float | None = None
    center_half_width: float = 5.0
    extent: float | None = None
    prior: Prior | None = None
    smallest_radius: float | None = None
    fit_center: bool = True
    fit_background: bool = True
    tolerance: float = 2e-6
    most_disks: int = 30
    seed: int = 0
    budget: float = 20.0

    def __post_init__(self) -> None:
        if self.noise not in NOISES:
            raise ValueError(f"noise must be one of {', '.join(NOISES)}, not {self.noise!r}")
        if not math.isfinite(self.dark_level):
            raise ValueError(f"dark_level must be a finite number, not {self.dark_level!r}")
        for name in ("readout_noise", "point_spread", "budget"):
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0):
                raise ValueError(f"{name} must be a number of 0 or more, not {getattr(self, name)!r}")
        for name in ("saturation_level", "extent", "smallest_radius", "tolerance"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ValueError(f"{name} must be a positive number or None, not {value!r}")
        if self.most_disks < 1 or self.most_disks != int(self.most_disks):
            raise ValueError(f"most_disks must be an integer of 1 or more, not {self.most_disks!r}")
        if self.seed < 0 or self.seed != int(self.seed):
            raise ValueError(f"seed must be an integer of 0 or more, not {self.seed!r}")

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for a document or a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> SolveSettings:
        """Make settings again from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If a setting is unknown or outside of its range.
        """
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"unknown settings of the structure solution: {', '.join(sorted(unknown))}; "
                f"expected some of {', '.join(cls.__dataclass_fields__)}"
            )
        values = dict(settings)
        if isinstance(values.get("prior"), Mapping):
            values["prior"] = Prior(**values["prior"])
        return cls(**values)
