"""Serving the frames that the documents of a run name, where its file holds more.

A file may hold more frames than documents have named yet (a flight goes on) or ever will (it was
aborted). Tiled (0.2.20) leaves out what is too much only if file and structure have equally many
dimensions. An event of many detectors has the shape (1, rows, columns), or (frames, rows, columns), and
their files simply one frame after the other: then Tiled answers 422 for every frame.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import math
from typing import Any

from tiled.adapters.hdf5 import HDF5ArrayAdapter

__all__ = ["DescribedFramesAdapter"]


class DescribedFramesAdapter(HDF5ArrayAdapter):
    """Tiled's adapter of HDF5 arrays, for files with surplus frames as well."""

    def __init__(self, array: Any, structure: Any, **more: Any) -> None:
        super().__init__(_without_surplus(array, structure.shape), structure, **more)


def _without_surplus(array: Any, shape: tuple[int, ...]) -> Any:
    """Give the first frames of a (dask) array of frames, as many as a shape (..., rows, columns) has."""
    wanted = math.prod(shape[:-2])
    if len(array.shape) < 3 or array.shape[-2:] != tuple(shape[-2:]) or array.shape[1:] == tuple(shape[1:]):
        return array
    if math.prod(array.shape[:-2]) <= wanted:
        return array
    return array.reshape(-1, *shape[-2:])[:wanted].reshape(shape)
