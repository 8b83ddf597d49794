"""What the preprocessing does: settings that travel in the model bundle, with their hash in every result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Literal

__all__ = ["SMALLEST_VIEW", "Preprocessing"]

SMALLEST_VIEW = 32
"""Rows and columns that a view needs, for the network's five halvings."""


@dataclass(frozen=True)
class Preprocessing:
    """Settings of the preprocessing, stored in the bundle.

    Parameters
    ----------
    crop : int or None
        Rows and columns kept of each view, counted from k = 0; None keeps all.
    center_half_width : float
        Pixels with ``|i - row| <= half width`` and ``|j - column| <= half width`` are
        masked: 5 gives the 11 x 11 block of the paper around k = 0.
    intensity : {"log", "linear", "patterson"}
        What is standardized: ``log(I + log_offset * mean)``, I itself, or the Patterson map
        ``P(x, y) = sum_ij w_ij I_ij cos(k_i x) cos(k_j y)``, in which each pair of disks is a spot
        at its distance. Masked pixels take the mean of the unmasked ones at the same |k|.
    log_offset : float
        Offset of the logarithm as a fraction of the mean unmasked intensity.
    sharpening : float
        Of the Patterson map: ``w = |k|**sharpening``, tapered to 0 at the edge of the view.
        The larger it is, the sharper the spots, and the more small disks count beside large ones.
    softness : float
        The Patterson map P becomes ``arcsinh(P / (softness * deviation))``.
    oversampling : int
        Points of the Patterson map for each pixel of the view; the map reaches to pi / k step.
    map_size : int or None
        Rows and columns kept of the Patterson map, counted from distance 0; None keeps all.
    radial_rows : int
        Rows added below the Patterson map: the radial average of the intensity, drawn over the view's
        pixels again, as many rows from the beam on; the logarithm of it times ``|k|**sharpening``. The form
        factor stands there as it is, where in the map it is a spot of few points at the origin.
    """

    crop: int | None = None
    center_half_width: float = 5.0
    intensity: Literal["log", "linear", "patterson"] = "log"
    log_offset: float = 1e-5
    sharpening: float = 2.0
    softness: float = 0.3
    oversampling: int = 1
    map_size: int | None = None
    radial_rows: int = 0
    moments: int = 1

    def __post_init__(self) -> None:
        if self.crop is not None and self.crop < SMALLEST_VIEW:
            raise ValueError(f"crop must be None or at least {SMALLEST_VIEW} pixels, not {self.crop}")
        if self.intensity not in ("log", "linear", "patterson"):
            raise ValueError(f"intensity must be 'log', 'linear' or 'patterson', not {self.intensity!r}")
        for name in ("log_offset", "softness"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not self.sharpening >= 0:
            raise ValueError(f"sharpening must be 0 or more, not {self.sharpening}")
        if self.radial_rows < 0:
            raise ValueError(f"radial_rows must be 0 or more, not {self.radial_rows}")
        if self.moments not in (1, 2, 3) or (self.moments > 1 and not self.radial_rows):
            raise ValueError(
                "moments must be 1, 2 or 3, and 1 without radial_rows, "
                f"not {self.moments} with {self.radial_rows} rows"
            )
        if self.oversampling < 1 or (self.map_size is not None and self.map_size < SMALLEST_VIEW):
            raise ValueError(
                f"oversampling must be at least 1 and map_size None or at least {SMALLEST_VIEW}, "
                f"not {self.oversampling} and {self.map_size}"
            )

    @property
    def hash(self) -> str:
        """SHA-256 of the settings, in hexadecimal."""
        values = asdict(self)
        if self.moments == 1:
            del values["moments"]  # settings from before there were moments keep their hash
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
