"""Reading a few frames of a stream with one HDF5 file per exposure, on the server.

Tiled's own adapter opens every file of the stream for each request to learn its shape:
0.9 s for one frame of 400 exposures. The files of one detector in one stream are alike, so
`FrameFilesAdapter` looks into the first and opens those that are asked for. A server of
one's own uses it by its configuration:

    adapters_by_mimetype:
      application/x-hdf5: speckle_plugin.storage.frame_files:FrameFilesAdapter

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import itertools
import math
import uuid
from typing import Any

import dask.array
import numpy as np
from numpy.typing import NDArray
from tiled.adapters.hdf5 import HDF5Adapter, HDF5ArrayAdapter, h5open
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

__all__ = ["FrameFilesAdapter"]


class FrameFilesAdapter(HDF5Adapter):
    """Tiled's HDF5 adapter, quicker where an array lies in many files of one shape."""

    @classmethod
    def from_catalog(
        cls, data_source: Any, node: Any, /, dataset: str = "/", **options: Any
    ) -> HDF5Adapter | HDF5ArrayAdapter:
        """Make the adapter of a node.

        Parameters
        ----------
        data_source : DataSource
            Files and structure of the node.
        node : Node
            The node.
        dataset : str
            Path of the dataset in each file.
        **options
            As of Tiled's adapter. With `slice` or `squeeze` it is Tiled's own that reads.
        """
        many = data_source.structure_family == StructureFamily.array and len(data_source.assets) > 1
        if many and not options.get("slice") and not options.get("squeeze"):
            access = {key: value for key, value in options.items() if key not in ("slice", "squeeze")}
            array = _stack(data_source, dataset, access)
            if array is not None:
                metadata = dict(node.metadata_)
                return HDF5ArrayAdapter(array, data_source.structure, metadata=metadata, specs=node.specs)
        return super().from_catalog(data_source, node, dataset=dataset, **options)


def _stack(data_source: Any, dataset: str, access: dict[str, Any]) -> dask.array.Array | None:
    """Join the files along their first axis, opening the first only; None if they cannot be alike."""
    structure = data_source.structure
    paths = [path_from_uri(asset.data_uri) for asset in data_source.assets]
    with h5open(paths[0], dataset, **access) as node:
        shape, chunks, dtype = node.shape, node.chunks or node.shape, node.dtype
    if (
        len(shape) < 2
        or dtype != structure.data_type.to_numpy_dtype()
        or len(paths) * math.prod(shape) != math.prod(structure.shape)
        or shape[1:] != structure.shape[len(structure.shape) - len(shape) + 1 :]
    ):
        return None

    def read(path: Any, start: int, stop: int) -> NDArray[Any]:
        with h5open(path, dataset, **access) as node:
            if node.shape != shape:
                raise ValueError(
                    f"{path} has the shape {node.shape}, but the first file of the stream {shape}"
                )
            return np.asarray(node[start:stop])

    bounds = [(i, min(i + chunks[0], shape[0])) for i in range(0, shape[0], chunks[0])]
    name = f"frame-files-{uuid.uuid4()}"
    tail = (0,) * (len(shape) - 1)
    tasks = {
        (name, i, *tail): (read, path, start, stop)
        for i, (path, (start, stop)) in enumerate(itertools.product(paths, bounds))
    }
    lengths = tuple(stop - start for start, stop in bounds) * len(paths)
    return dask.array.Array(tasks, name, (lengths, *((n,) for n in shape[1:])), dtype=dtype)
