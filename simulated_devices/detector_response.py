"""What a detector does to the intensity: photons, noise, blur, panels, defects, saturation, rounding.

Use :class:`DetectorResponse` to turn a noise-free intensity into the frame that a camera would
deliver. Every effect is off by default; those that are on are plain numbers, so that the
settings can be written beside the frames and the frames be made again from them.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import convolve1d, gaussian_filter
from scipy.special import ndtr

__all__ = ["DetectorResponse"]

DTYPES = ("float32", "float64", "uint16")
LARGEST_UINT16 = 65535.0
SQRT_TAU = math.sqrt(2.0 * math.pi)


@dataclass(frozen=True)
class DetectorResponse:
    """Settings of a detector; with all of them off, a frame is the intensity as float32.

    The effects are applied in the order of the parameters.

    Parameters
    ----------
    point_spread : float
        Standard deviation of a Gaussian blur, in pixels. 0 is off.
    photons : float, optional
        Expected number of photons in a whole frame. The counts are drawn from Poisson
        distributions, in proportion to the intensity. None leaves the intensity as it is.
    charge_sharing : float
        Standard deviation, in pixels, of the cloud of charge of a photon that hits a pixel anywhere. What
        falls into a neighbour is read there; so pixels are no whole numbers of photons any more. 0 is off.
    panel_size : int
        Rows and columns of the panels (modules) of which the detector is made. 0 is one panel.
    panel_gap : int
        Rows and columns between panels that always read 0.
    panel_gain_spread : float
        Standard deviation of the gains of the panels, whose mean is 1.
    dark_level : float
        Added to every pixel, in counts.
    readout_noise : float
        Standard deviation of the normal noise of reading a pixel, in counts.
    dead_fraction, hot_fraction : float
        Shares of all pixels that always read 0, or `hot_level`.
    hot_level : float, optional
        What a hot pixel reads, in counts. Needed when there are hot pixels.
    defect_seed : int
        Fixes where the dead and the hot pixels of this detector are, and the gains of its panels.
    saturation_level : float, optional
        No pixel reads more, in counts.
    dtype : str
        Of the frame: `float32`, `float64` or `uint16`. The last rounds, and saturates at 65535.

    Raises
    ------
    ValueError
        If a setting is outside of its range, or contradicts another.
    """

    point_spread: float = 0.0
    photons: float | None = None
    charge_sharing: float = 0.0
    panel_size: int = 0
    panel_gap: int = 0
    panel_gain_spread: float = 0.0
    dark_level: float = 0.0
    readout_noise: float = 0.0
    dead_fraction: float = 0.0
    hot_fraction: float = 0.0
    hot_level: float | None = None
    defect_seed: int = 0
    saturation_level: float | None = None
    dtype: str = "float32"

    def __post_init__(self) -> None:
        for name in ("point_spread", "charge_sharing", "panel_gain_spread", "dark_level", "readout_noise"):
            _require(name, getattr(self, name), 0.0, math.inf, "0 turns it off")
        for name in ("panel_size", "panel_gap"):
            if getattr(self, name) != int(getattr(self, name)) or getattr(self, name) < 0:
                raise ValueError(f"{name} must be an integer of 0 or more, not {getattr(self, name)!r}")
        if not self.panel_size and (self.panel_gap or self.panel_gain_spread):
            raise ValueError("panel_gap and panel_gain_spread need panel_size: give the rows of a panel")
        for name in ("dead_fraction", "hot_fraction"):
            _require(name, getattr(self, name), 0.0, 1.0, "it is a share of all pixels")
        for name in ("photons", "hot_level", "saturation_level"):
            if getattr(self, name) is not None:
                _require(name, getattr(self, name), 0.0, math.inf, "None turns it off")
        if self.photons == 0.0 or self.saturation_level == 0.0:
            raise ValueError("photons and saturation_level must be above 0, not 0: None turns them off")
        if self.dead_fraction + self.hot_fraction > 1.0:
            raise ValueError(
                f"dead_fraction and hot_fraction must add up to 1 at most, not to "
                f"{self.dead_fraction + self.hot_fraction}: make one smaller"
            )
        if self.hot_fraction > 0 and self.hot_level is None:
            raise ValueError("hot_fraction is set but hot_level is not: give the counts of a hot pixel")
        if self.defect_seed != int(self.defect_seed) or self.defect_seed < 0:
            raise ValueError(f"defect_seed must be an integer of 0 or more, not {self.defect_seed!r}")
        if self.dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, not {self.dtype!r}")
        if self.dtype == "uint16" and self.photons is None:
            raise ValueError(
                "dtype 'uint16' needs photons: noise-free intensities are about 1e9 and would all "
                "saturate at 65535. Set photons (per frame), or use dtype 'float32'"
            )

    @property
    def effective_saturation_level(self) -> float:
        """Largest value that a pixel can read, in counts; 0.0 if there is no limit."""
        limits = [] if self.saturation_level is None else [float(self.saturation_level)]
        if self.dtype == "uint16":
            limits.append(LARGEST_UINT16)
        return min(limits, default=0.0)

    def gaps(self, shape: tuple[int, int]) -> NDArray[np.bool_]:
        """Tell which pixels of a frame of this shape lie in the gaps between panels: fit for a mask."""
        if not self.panel_gap:
            return np.zeros(shape, bool)
        return _panels(shape, self.panel_size, self.panel_gap, 0.0, self.defect_seed) == 0.0

    def to_dict(self) -> dict[str, Any]:
        """Give the settings as plain values, for a document or a JSON file."""
        return asdict(self)

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> DetectorResponse:
        """Make a response again from :meth:`to_dict`.

        Raises
        ------
        ValueError
            If a setting is unknown or outside of its range.
        """
        unknown = set(settings) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(
                f"unknown settings of a detector response: {', '.join(sorted(unknown))}; "
                f"expected some of {', '.join(cls.__dataclass_fields__)}"
            )
        return cls(**settings)

    def respond(
        self, intensity: NDArray[np.float64], rng: np.random.Generator, scale: float = 1.0
    ) -> NDArray[Any]:
        """Take a frame of an intensity.

        Parameters
        ----------
        intensity : array, shape (rows, columns), float64
            Noise-free intensity, in any unit; not changed.
        rng : numpy.random.Generator
            Source of the noise.
        scale : float
            Multiplies the number of photons: exposure time over the nominal one.

        Returns
        -------
        array, shape (rows, columns), of `dtype`

        Raises
        ------
        ValueError
            If the intensity is not two-dimensional, or the scale no positive number.
        """
        if intensity.ndim != 2:
            raise ValueError(f"expected an intensity of shape (rows, columns), got {intensity.shape}")
        if not (math.isfinite(scale) and scale > 0):
            raise ValueError(f"scale must be a positive number, not {scale!r}")
        frame = np.asarray(intensity, dtype=np.float64)
        if self.point_spread > 0:
            frame = gaussian_filter(frame, self.point_spread)
        if self.photons is not None:
            total = frame.sum()
            expected = frame * (self.photons * scale / total) if total > 0 else frame
            frame = rng.poisson(expected).astype(np.float64)
        if self.charge_sharing > 0:
            frame = share_charge(frame, self.charge_sharing)
        if self.panel_size:
            frame = frame * _panels(
                frame.shape, self.panel_size, self.panel_gap, self.panel_gain_spread, self.defect_seed
            )
        if self.dark_level > 0:
            frame = frame + self.dark_level
        if self.readout_noise > 0:
            frame = frame + rng.normal(0.0, self.readout_noise, frame.shape)
        if self.dead_fraction > 0 or self.hot_fraction > 0:
            dead, hot = _defects(frame.shape, self.dead_fraction, self.hot_fraction, self.defect_seed)
            frame = frame.copy()
            frame.flat[dead] = 0.0
            frame.flat[hot] = self.hot_level
        if self.saturation_level is not None:
            frame = np.minimum(frame, self.saturation_level)
        if self.dtype == "uint16":
            frame = np.clip(np.rint(frame), 0.0, self.effective_saturation_level)
        return frame.astype(self.dtype)


def share_charge(counts: NDArray[np.float64], deviation: float) -> NDArray[np.float64]:
    """Spread the charge of each photon over its pixel and the neighbours; what leaves the frame is lost.

    Parameters
    ----------
    counts : array, shape (rows, columns)
    deviation : float
        Of the Gaussian cloud of charge, in pixels. Photons hit a pixel anywhere.

    Returns
    -------
    array, shape (rows, columns)

    Notes
    -----
    The share of a pixel at the distance m is the integral over that pixel of a box of one pixel convolved
    with the Gaussian, ``G(m + 1) - 2 G(m) + G(m - 1)``, G being the second integral of the Gaussian.
    """
    reach = math.ceil(5.0 * deviation) + 1
    m = np.arange(-reach, reach + 1)

    def twice_integrated(x: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(
            x * ndtr(x / deviation) + deviation * np.exp(-0.5 * (x / deviation) ** 2) / SQRT_TAU
        )

    shares = twice_integrated(m + 1.0) - 2.0 * twice_integrated(m + 0.0) + twice_integrated(m - 1.0)
    for axis in (0, 1):
        counts = convolve1d(counts, shares, axis=axis, mode="constant")
    return counts


@functools.lru_cache(maxsize=8)
def _panels(shape: tuple[int, ...], size: int, gap: int, spread: float, seed: int) -> NDArray[np.float64]:
    """Gain of each pixel; 0 in the gaps between panels."""
    number, within = zip(*(np.divmod(np.arange(n), size + gap) for n in shape), strict=True)
    gains = np.random.default_rng([seed, 1]).normal(1.0, spread, (number[0][-1] + 1, number[1][-1] + 1))
    inside = (within[0] < size)[:, None] & (within[1] < size)[None, :]
    return np.where(inside, np.maximum(gains, 0.0)[np.ix_(number[0], number[1])], 0.0)


@functools.lru_cache(maxsize=8)
def _defects(
    shape: tuple[int, ...], dead_fraction: float, hot_fraction: float, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Flat indices of the dead and of the hot pixels, without a pixel in both."""
    size = math.prod(shape)
    dead_count = round(dead_fraction * size)
    hot_count = min(round(hot_fraction * size), size - dead_count)
    order = np.random.default_rng(seed).permutation(size)
    return order[:dead_count], order[dead_count : dead_count + hot_count]


def _require(name: str, value: float, least: float, most: float, remedy: str) -> None:
    if not (isinstance(value, int | float) and math.isfinite(value) and least <= value <= most):
        wanted = f"of {least:g} or more" if math.isinf(most) else f"from {least:g} to {most:g}"
        raise ValueError(f"{name} must be a number {wanted} ({remedy}), not {value!r}")
