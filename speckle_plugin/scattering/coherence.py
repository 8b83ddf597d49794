"""Partial transverse coherence: a frame of less contrast, as a Gaussian source of finite size gives.

With the degree of coherence ``exp(-d^2 / (2 xi^2))`` of two points at the distance d, the frame is the
coherent one convolved in k with a Gaussian of standard deviation 1 / xi. Sampled at the k step of the model
system the autocorrelation of the sample just fits; so a convolution of the samples would mix in its copies.
The samples are combined by a kernel whose Fourier transform ends where the autocorrelation does.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.blas_threads import one_blas_thread
from speckle_plugin.scattering.grids import BOX_LENGTH, PixelGrid

__all__ = ["partially_coherent"]

REACH = 4.0
"""Standard deviations of the Gaussian beyond the edge of the frame that are computed."""

LEAST_PADDING = 16
"""Samples beyond the edge at least, for the tails of the kernel."""

NODES = 256
"""Beside the samples, nodes of the quadrature; their number is rounded up to a multiple of it."""


def partially_coherent(
    coherent: Callable[[PixelGrid], NDArray[np.float64]], grid: PixelGrid, coherence_length: float
) -> NDArray[np.float64]:
    """Compute a frame in partially coherent light.

    Parameters
    ----------
    coherent : callable
        Gives the intensity in coherent light on a pixel grid, shape `grid.shape`, of a sample no larger than
        the box. It is asked for a larger and, where the k step needs it, finer grid.
    grid : PixelGrid
        Where each pixel looks.
    coherence_length : float
        The transverse coherence length xi, in the units of the box. At infinity the frame is the coherent
        one.

    Returns
    -------
    array, shape `grid.shape`, float64

    Raises
    ------
    ValueError
        If the coherence length is not positive.

    Notes
    -----
    Source: van Cittert and Zernike's theorem with Schell's model, in Goodman, Statistical Optics, 2nd
    edition, chapter 5. Summed over k the intensity stays, but for what crosses the edge of the frame.
    """
    if not coherence_length > 0:
        raise ValueError(f"the coherence length must be above 0, not {coherence_length!r}")
    if math.isinf(coherence_length):
        return coherent(grid)
    fine = max(1, math.ceil(grid.pitch * BOX_LENGTH / math.pi - 1e-9))
    step = grid.pitch / fine
    padding = max(LEAST_PADDING, math.ceil(REACH / (coherence_length * step)))
    rows, columns = ((n - 1) * fine + 1 + 2 * padding for n in grid.shape)
    row, column = (c * fine + padding for c in grid.beam_center)
    wide = replace(grid, shape=(rows, columns), pitch=step, beam_center=(row, column))
    frame = coherent(wide)
    with one_blas_thread():
        along_rows, along_columns = (
            _kernel(n, fine, padding, step, float(coherence_length)) for n in grid.shape
        )
        return np.maximum(along_rows @ frame @ along_columns.T, 0.0)


@functools.lru_cache(maxsize=8)
def _kernel(
    pixels: int, fine: int, padding: int, step: float, coherence_length: float
) -> NDArray[np.float64]:
    """Give the weight of each sample in each pixel, shape (pixels, samples)."""
    samples = (pixels - 1) * fine + 1 + 2 * padding
    # By Gauss and Legendre, the mean over |x| <= pi / step of the degree of coherence times cos(k x).
    nodes, weights = _nodes(math.ceil(samples / NODES + 1) * NODES)
    coherence = 0.5 * weights * np.exp(-0.5 * (nodes * math.pi / (step * coherence_length)) ** 2)
    lags = np.cos(math.pi * np.outer(np.arange(samples), nodes)) @ coherence
    places = np.abs(np.arange(pixels)[:, None] * fine + padding - np.arange(samples)[None, :])
    return np.asarray(lags[places])


@functools.lru_cache(maxsize=8)
def _nodes(count: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Give nodes and weights of the quadrature; working them out takes a tenth of a second."""
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return nodes, weights
