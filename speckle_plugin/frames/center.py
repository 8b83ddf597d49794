"""Where the beam is on a frame, by the inversion symmetry I(k) = I(-k) of a scattering pattern.

A frame turned by half a turn about the beam is like itself. So the correlation of a frame with
its half-turned self, over all shifts at once by Fourier transforms, is largest where the shift
is twice the beam's place; pixels that are masked, and what lies outside, take no part (normalized
correlation over the overlap, Padfield, IEEE Trans. Image Process. 21, 2706 (2012)). Then the place is
refined by least squares (Gauss-Newton) on the difference between the frame and its turned self.
Both work on the logarithm of the intensity, smoothed by a pixel: speckles count, and not only
the bright middle. A frame with the beam in its corner has nothing opposite to compare: no answer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import fft
from scipy.ndimage import gaussian_filter, map_coordinates, spline_filter

from speckle_plugin.preprocessing.marked_pixels import marked_pixels

__all__ = ["BeamCenter", "center_disagrees", "find_center", "is_elsewhere", "see_center", "turned_frame"]

SMOOTHING = 1.0
"""Standard deviation in pixels: the sharp zeros between speckles have no part in the answer."""

SMALLEST_OVERLAP = 0.1
"""Part of the unmasked pixels that must have an unmasked one opposite."""

SMALLEST_SYMMETRY = 0.85
"""Correlation of a frame with its turned self below which there is no answer."""

SYMMETRY_TO_DISAGREE = 0.94
"""The same for contradicting a centre that is given.

Of 1000 simulated frames with the beam in them and 1000 with it in the corner (10^4 to 10^7 photons, and
without noise; masks; two k steps) none was called wrong by more than two pixels; at 0.85 it were 12. With
10^5 photons and more all that are off by three pixels are found, with 10^4 three in four.
"""

SMALLEST_SIDE = 32

COARSE = 512
"""Larger frames are binned for the search of the whole frame."""

WINDOW = 256
"""Pixels on each side of the beam that the refinement looks at."""

QUICK = 144
"""Rows and columns to which a frame is binned to compare a given centre."""

TOLERANCE = 2.0
"""Pixels, along either axis, up to which a given centre agrees with one that is seen."""


@dataclass(frozen=True)
class BeamCenter:
    """Where the beam is.

    Parameters
    ----------
    row, column : float
        In pixels, (0, 0) being the middle of the first one.
    uncertainty : float
        Standard deviation of the worse of both, in pixels, by what differs between the two halves.
    symmetry : float
        Correlation of the smoothed frame with its turned self, 1 for a perfect one.
    """

    row: float
    column: float
    uncertainty: float
    symmetry: float


def find_center(frame: NDArray[Any], mask: NDArray[np.bool_] | None = None) -> BeamCenter:
    """Find the beam on a frame, to a tenth of a pixel.

    Parameters
    ----------
    frame : array, shape (rows, columns)
        Raw; pixels that the detector marks, and those that are not finite, are left out.
    mask : array of bool, shape (rows, columns), optional
        True where a pixel is to be left out.

    Raises
    ------
    ValueError
        If the frame is too small or empty, or has no centre of symmetry on it.
    """
    values, weights = _smoothed(frame, mask)
    factor = math.ceil(max(values.shape) / COARSE)
    row, column, symmetry = _search(*_binned(values, weights, factor))
    center = ((row + 0.5) * factor - 0.5, (column + 0.5) * factor - 0.5)
    if symmetry < SMALLEST_SYMMETRY:
        raise ValueError(
            f"the frame has no centre of symmetry: the best, at row {center[0]:.0f}, column {center[1]:.0f}, "
            f"has {symmetry:.2f} of 1, and {SMALLEST_SYMMETRY} is needed; expected a frame with the beam on "
            "it, pixels on both sides of the beam, and a mask for what is no scattering"
        )
    (first_row, last_row), (first_column, last_column) = (
        (max(0, round(at) - WINDOW), min(n, round(at) + WINDOW + 1))
        for at, n in zip(center, values.shape, strict=True)
    )
    window = np.s_[first_row:last_row, first_column:last_column]
    if factor > 1:
        row, column, symmetry = _search(values[window], weights[window])
    else:
        row, column = center[0] - first_row, center[1] - first_column
    row, column, uncertainty = _refine(values[window], weights[window], (row, column))
    return BeamCenter(row + first_row, column + first_column, uncertainty, symmetry)


def center_disagrees(
    frame: NDArray[Any],
    given: tuple[float, float],
    mask: NDArray[np.bool_] | None = None,
    tolerance: float = TOLERANCE,
) -> BeamCenter | None:
    """Tell whether a frame shows its beam elsewhere than where it is said to be.

    Quick; see :func:`see_center`. Where a frame does not show its centre, nothing disagrees.

    Parameters
    ----------
    frame, mask : array
        As in :func:`find_center`.
    given : (row, column)
    tolerance : float
        Pixels, along either axis, up to which it agrees.

    Returns
    -------
    BeamCenter or None
        Where the beam is, if that disagrees; to about half a pixel.
    """
    seen = see_center(frame, given, mask)
    return seen if seen is not None and is_elsewhere(seen, given, tolerance) else None


def see_center(
    frame: NDArray[Any], given: tuple[float, float], mask: NDArray[np.bool_] | None = None
) -> BeamCenter | None:
    """Find the beam quickly, on a binned frame and without refinement: for one frame in many.

    Some milliseconds for 257 x 257 pixels. Of a larger frame the whole is looked at in large squares of
    pixels; where that does not disagree with the given place, the pixels around this are.

    Parameters
    ----------
    frame, mask : array
        As in :func:`find_center`.
    given : (row, column)
        Where the beam is said to be.

    Returns
    -------
    BeamCenter or None
        None where the frame does not show it clearly enough to contradict anyone.
    """
    frame = np.asarray(frame)
    if frame.ndim != 2 or max(frame.shape) <= 2 * QUICK:
        return _see(frame, mask)
    factor = math.ceil(max(frame.shape) / (2 * QUICK))
    rough = _see(*_binned_counts(frame, mask, factor))
    if rough is not None:
        row, column = (at * factor + (factor - 1) / 2 for at in (rough.row, rough.column))
        rough = BeamCenter(row, column, rough.uncertainty * factor, rough.symmetry)
        if is_elsewhere(rough, given):
            return rough
    rows, columns = (slice(max(0, round(at) - QUICK), max(0, round(at) + QUICK + 1)) for at in given)
    fine = _see(frame[rows, columns], None if mask is None else mask[rows, columns])
    if fine is None:
        return rough
    return replace(fine, row=fine.row + rows.start, column=fine.column + columns.start)


def is_elsewhere(seen: BeamCenter, given: tuple[float, float], tolerance: float = TOLERANCE) -> bool:
    """Tell whether a beam that was seen is elsewhere, as far as it was seen sharply enough to say so."""
    distance = max(abs(seen.row - given[0]), abs(seen.column - given[1]))
    return distance > max(tolerance, 4 * seen.uncertainty)


def _see(frame: NDArray[Any], mask: NDArray[np.bool_] | None) -> BeamCenter | None:
    try:
        values, weights = _smoothed(frame, mask)
    except ValueError:
        return None
    factor = math.ceil(max(values.shape) / QUICK)
    row, column, symmetry = _search(*_binned(values, weights, factor))
    if symmetry < SYMMETRY_TO_DISAGREE:
        return None
    return BeamCenter((row + 0.5) * factor - 0.5, (column + 0.5) * factor - 0.5, factor / 4, symmetry)


def _binned_counts(
    frame: NDArray[Any], mask: NDArray[np.bool_] | None, factor: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Average the pixels that count over squares of so many, and tell which squares have none."""
    used = np.isfinite(frame)
    for left_out in (mask, marked_pixels(frame)):
        if left_out is not None:
            used &= ~left_out
    values = np.where(used, frame, 0).astype(np.float64)
    averages, known = _binned(values, used.astype(np.float64), factor)
    return averages, known == 0


def turned_frame(frame: NDArray[Any], center: tuple[float, float]) -> NDArray[np.float64]:
    """Turn a frame by half a turn about a point, by linear interpolation; NaN where nothing is opposite."""
    rows, columns = np.indices(frame.shape)
    opposite = [2 * center[0] - rows, 2 * center[1] - columns]
    return map_coordinates(frame.astype(float), opposite, order=1, mode="constant", cval=np.nan)


def _smoothed(
    frame: NDArray[Any], mask: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give the smoothed logarithm of a frame, of mean 0, and 1 where it is known, 0 elsewhere."""
    frame = np.asarray(frame)
    if frame.ndim != 2 or min(frame.shape) < SMALLEST_SIDE or frame.dtype.kind not in "biuf":
        raise ValueError(
            f"expected a frame of real numbers, at least {SMALLEST_SIDE} pixels a side, got {frame.dtype} of "
            f"the shape {frame.shape}"
        )
    used = np.isfinite(frame)
    marked = marked_pixels(frame)
    for left_out in (mask, marked):
        if left_out is not None:
            used &= ~left_out
    values = np.where(used, np.maximum(np.where(used, frame, 0).astype(float), 0.0), 0.0)
    if not values.any():
        raise ValueError("the frame is empty: no unmasked pixel has a value above 0")
    # Neither the zeros of counts nor those between speckles may reach far down.
    offset = max(values[values > 0].min(), 0.1 * np.median(values[used]))
    logarithm = np.where(used, np.log(values + offset), 0.0)
    logarithm -= logarithm[used].mean()
    weights = used.astype(float)
    known = np.maximum(gaussian_filter(weights, SMOOTHING), 1e-3)
    smoothed = gaussian_filter(logarithm * weights, SMOOTHING) / known * weights
    return (smoothed - smoothed[used].mean()) * weights, weights


def _binned(
    values: NDArray[np.float64], weights: NDArray[np.float64], factor: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Average over squares of so many pixels; rows and columns that are left over fall away."""
    if factor == 1:
        return values, weights
    rows, columns = (n // factor for n in values.shape)
    squares = (rows, factor, columns, factor)

    def total(array: NDArray[np.float64]) -> NDArray[np.float64]:
        return array[: rows * factor, : columns * factor].reshape(squares).sum((1, 3))

    known = total(weights)
    return total(values * weights) / np.maximum(known, 1.0), (known > 0).astype(float)


def _search(values: NDArray[np.float64], weights: NDArray[np.float64]) -> tuple[float, float, float]:
    """Give row and column of the best centre of symmetry, to a fraction of a pixel, and the correlation."""
    rows, columns = values.shape
    padded = [fft.next_fast_len(2 * n - 1, real=True) for n in values.shape]

    def transform(array: NDArray[np.float64]) -> NDArray[np.complex128]:
        return fft.rfft2(array, padded)

    def shifts(product: NDArray[np.complex128]) -> NDArray[np.float64]:
        return fft.irfft2(product, padded)[: 2 * rows - 1, : 2 * columns - 1]

    of_values, of_weights, of_squares = transform(values), transform(weights), transform(values**2)
    overlap = np.maximum(shifts(of_weights**2), 1.0)
    mean = shifts(of_values * of_weights) / overlap
    variance = shifts(of_squares * of_weights) / overlap - mean**2
    covariance = shifts(of_values**2) / overlap - mean**2
    enough = overlap > SMALLEST_OVERLAP * weights.sum()
    correlation = np.where(enough, covariance / np.maximum(variance, 1e-9), 0.0).clip(0.0, 1.0 - 1e-9)
    # What knowing the one half tells of the other, in nats: a good match of a larger overlap counts more.
    gain = -0.25 * overlap * np.log1p(-(correlation**2))
    i, j = (int(n) for n in np.unravel_index(gain.argmax(), gain.shape))
    peak = np.pad(correlation, 1, mode="edge")[i : i + 3, j : j + 3]
    return (i + _vertex(peak[:, 1])) / 2, (j + _vertex(peak[1])) / 2, float(correlation[i, j])


def _vertex(values: NDArray[np.float64]) -> float:
    """Give the place of the maximum of a parabola through values at -1, 0 and 1."""
    curvature = values[0] - 2 * values[1] + values[2]
    return 0.0 if curvature >= 0 else float(np.clip(0.5 * (values[0] - values[2]) / curvature, -0.5, 0.5))


def _refine(
    values: NDArray[np.float64], weights: NDArray[np.float64], center: tuple[float, float]
) -> tuple[float, float, float]:
    """Refine a centre by least squares on the difference between a frame and its turned self."""
    splines = [spline_filter(array) for array in (values, *np.gradient(values))]
    place = np.indices(values.shape).reshape(2, -1)
    limits = np.array(values.shape)[:, None]
    at, uncertainty = np.array(center, float), 0.5
    for _ in range(10):
        opposite = 2 * at[:, None] - place
        inside = ((opposite >= 1) & (opposite <= limits - 2)).all(0) & (weights.reshape(-1) > 0)
        nearest = np.rint(opposite[:, inside]).astype(int)
        inside[inside] = weights[nearest[0], nearest[1]] > 0
        if np.count_nonzero(inside) < SMALLEST_SIDE**2:
            break
        turned, *slopes = (map_coordinates(s, opposite[:, inside], prefilter=False) for s in splines)
        difference = values.reshape(-1)[inside] - turned
        gradient = 2 * np.array(slopes)
        normal = np.einsum("ip,jp->ij", gradient, gradient)
        if np.linalg.cond(normal) > 1e9:
            break
        step = np.linalg.solve(normal, np.einsum("ip,p->i", gradient, difference)).clip(-0.5, 0.5)
        at += step
        # Smoothing makes neighbours alike: so many pixels are one independent value.
        independent = 4 * math.pi * SMOOTHING**2
        variances = np.linalg.inv(normal).diagonal() * 2 * difference.var() * independent
        uncertainty = float(np.sqrt(variances.max()))
        if np.abs(step).max() < 1e-3:
            break
    if np.abs(at - center).max() > 2.0:  # led astray; the search is right to a pixel
        return center[0], center[1], 0.5
    return float(at[0]), float(at[1]), uncertainty
