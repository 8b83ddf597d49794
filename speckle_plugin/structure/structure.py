"""The answer: disks with standard errors, and how far it can be believed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from speckle_plugin.scattering import PixelGrid, intensity_of_disks

__all__ = ["Certificate", "Structure"]

ARRAYS = ("x", "y", "r", "x_error", "y_error", "r_error")


class Certificate(StrEnum):
    """How far a structure can be believed."""

    SOLVED = "solved"
    """The disks explain the frame, each is needed, and no other could hide."""
    NOT_EXPLAINED = "not_explained"
    """No disks that were found explain the frame: it may show something else, or its geometry is wrong."""
    UNDECIDED = "undecided"
    """The frame does not tell, or there was no time to: the reason says which."""


@dataclass(frozen=True, eq=False)
class Structure:
    """Disks found in one frame. The frame does not tell shifts of all disks, nor an inversion of the sample.

    Parameters
    ----------
    x, y, r : array, shape (n,)
        Centres and radii by decreasing radius, in units of length (1 / those of k). x goes with the frame's
        rows. The smallest x - r and y - r are 0.
    x_error, y_error, r_error : array, shape (n,)
        Standard errors from the Fisher matrix, positions relative to the mean of all; NaN where unknown.
    certificate : Certificate
        Whether to believe it.
    reason : str
        Why the certificate was given, or why not.
    scale : float
        Counts (or units of the frame) for an intensity of 1.
    background : float
        Constant background, in counts; 0 if not fitted.
    beam_center : tuple of float
        Row and column, as refined.
    k_step : float
        Wave number between neighbouring pixels.
    point_spread : float
        Standard deviation of the blur, in pixels.
    residual : float
        Root mean square of (calculated - measured amplitude), each over the local mean; 0 is perfect.
    z_score : float
        Deviance beyond that of the noise, in standard deviations; NaN where the noise is not known.
    weakest_gain : float
        What the least significant disk adds to twice the log-likelihood.
    remaining_gain : float
        What the best further disk would add to it.
    hidden_radius : float
        The largest disk that could be there unseen.
    seconds : float
        How long it took.
    starts : int
        How many random starts were made.
    history : tuple of str
        How it came about.
    seed : int
        Of the random starts.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    r: NDArray[np.float64]
    x_error: NDArray[np.float64]
    y_error: NDArray[np.float64]
    r_error: NDArray[np.float64]
    certificate: Certificate
    reason: str
    scale: float
    background: float
    beam_center: tuple[float, float]
    k_step: float
    point_spread: float
    residual: float
    z_score: float
    weakest_gain: float
    remaining_gain: float
    hidden_radius: float
    seconds: float
    starts: int
    history: tuple[str, ...]
    seed: int

    @property
    def disk_number(self) -> int:
        """How many disks were found; 0 if none could be."""
        return len(self.r)

    @property
    def solved(self) -> bool:
        """Whether the structure is certified."""
        return self.certificate is Certificate.SOLVED

    def calculated_frame(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Compute the frame that these disks scatter, background included, shape `shape`."""
        if not self.disk_number:
            return np.full(shape, self.background)
        grid = PixelGrid(shape, self.k_step, self.beam_center)
        intensity = intensity_of_disks(np.column_stack([self.x, self.y]), self.r, grid)
        if self.point_spread > 0:
            intensity = gaussian_filter(intensity, self.point_spread)
        return np.asarray(self.scale * intensity + self.background)

    def to_dict(self) -> dict[str, Any]:
        """Give everything as plain values, for a document or a JSON file; NaN is None."""
        plain = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ARRAYS:
            plain[name] = [_none_for_nan(value) for value in plain[name].tolist()]
        plain.update(
            certificate=str(self.certificate), beam_center=list(self.beam_center), history=list(self.history)
        )
        return {name: _none_for_nan(value) for name, value in plain.items()}

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Structure:
        """Make a structure again from :meth:`to_dict`."""
        values: dict[str, Any] = {name: np.nan if value is None else value for name, value in plain.items()}
        for name in ARRAYS:
            values[name] = np.array([np.nan if v is None else v for v in plain[name]], dtype=np.float64)
        values.update(
            certificate=Certificate(plain["certificate"]),
            beam_center=tuple(plain["beam_center"]),
            history=tuple(plain["history"]),
        )
        return cls(**values)


def _none_for_nan(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
