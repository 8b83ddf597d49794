"""Charge flipping: phases for amplitudes, from the positivity of what scatters, without a support.

Density below a threshold changes its sign, amplitudes are set to the measured ones, and so on from
random phases. Amplitudes that are not known stay as they come.

Source: Oszlanyi and Suto, Acta Cryst. A 60, 134 (2004); A 61, 147 (2005).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import scipy.fft
from numpy.typing import NDArray

__all__ = ["flip_charges"]

STRENGTH = 0.9
"""What is flipped comes back so strong."""


def flip_charges(
    amplitude: NDArray[np.float64],
    known: NDArray[np.bool_],
    inside: NDArray[np.bool_],
    rng: np.random.Generator,
    rounds: int,
    batch: int,
    threshold: float,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Find densities of given amplitudes, from several random starts at once.

    Parameters
    ----------
    amplitude : array, shape (n, n)
        Measured amplitudes in the order of an FFT; even under inversion.
    known, inside : array of bool, shape (n, n)
        Where they are known; where any are allowed.
    rng : numpy.random.Generator
    rounds, batch : int
        Of flipping; how many starts.
    threshold : float
        In standard deviations of the density.
    stop : callable
        Asked now and then; ends early where it is true.

    Returns
    -------
    density : array, shape (batch, n, n)
    residual : array, shape (batch,)
        Mean difference of the amplitudes, as a share of their mean.
    """
    n = len(amplitude)
    half = np.s_[:, : n // 2 + 1]
    measured = np.where(known, amplitude, 0.0)[half].astype(np.float32)
    fixed, free = known[half], (inside & ~known)[half]
    some_free, most = bool(free.any()), np.float32(1.5 * measured.max())
    noise = rng.normal(size=(batch, n, n)).astype(np.float32)
    waves = _with_amplitudes(scipy.fft.rfft2(noise), measured)
    squares, total = float((measured**2).sum()), float(measured.sum())
    residual = np.ones(batch)
    for turn in range(rounds):
        if turn % 10 == 9 and stop():
            break
        density = scipy.fft.irfft2(waves, s=(n, n))
        level = np.float32(threshold * (1.0 if turn < 0.85 * rounds else 0.7))
        level = level * np.sqrt(np.square(density).mean(axis=(1, 2), keepdims=True))
        if turn < 0.9 * rounds:
            density = np.where(density < level, np.float32(-STRENGTH) * density, density)
        else:  # towards the end, what is low is taken out
            density = np.where(density < np.float32(0.6) * level, np.float32(0.0), density)
        waves = scipy.fft.rfft2(density)
        size = np.abs(waves)
        scale = (size * measured).sum(axis=(1, 2), keepdims=True) / np.float32(squares)
        if turn == rounds - 1:
            off = np.where(fixed, np.abs(size / scale - measured), 0.0)
            residual = off.sum(axis=(1, 2)) / total
        size = np.maximum(size, np.float32(1e-30))
        turned = waves * (measured / size)
        if some_free:
            others = np.where(free, waves / scale, 0.0)
            others *= np.minimum(1.0, most / np.maximum(np.abs(others), np.float32(1e-30)))
            turned = np.where(fixed, turned, others)
        waves = turned
    return scipy.fft.irfft2(waves, s=(n, n)), residual


def _with_amplitudes(
    waves: NDArray[np.complexfloating], amplitude: NDArray[np.float32]
) -> NDArray[np.complexfloating]:
    return waves * (amplitude / np.maximum(np.abs(waves), np.float32(1e-30)))
