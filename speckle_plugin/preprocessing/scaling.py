"""Bringing intensities and maps to one scale: offsets, compression, zero mean and unit variance."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.preprocessing.settings import Preprocessing

__all__ = ["compress", "log_offset_of", "standardize"]


def standardize(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Give values with mean 0 and variance 1; zeros where all are alike."""
    centered = values - np.float32(values.mean(dtype=np.float64))  # exact, so a constant becomes 0
    deviation = _root_mean_square(centered)
    return centered / deviation if deviation > 0 else np.zeros_like(values)


def _root_mean_square(values: NDArray[np.float32]) -> np.float32:
    return np.sqrt(np.square(values).mean())  # not by BLAS: see `blas_threads`


def log_offset_of(pixels: NDArray[np.float32], settings: Preprocessing) -> Any:
    """Give what is added to intensities before their logarithm is taken."""
    return max(settings.log_offset * pixels.mean(), np.finfo(np.float32).tiny)


def compress(values: NDArray[np.float32], settings: Preprocessing) -> NDArray[np.float32]:
    """Give ``arcsinh(P / (softness * deviation))`` of a Patterson map P."""
    deviation = _root_mean_square(values - values.mean())
    return np.arcsinh(values / (settings.softness * deviation)) if deviation > 0 else values
