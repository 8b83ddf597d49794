"""Reading a few frames of a stream with one HDF5 file per exposure, on the server.

Tiled's own adapter opens every file of the stream for each request to learn its shape:
0.9 s for one frame of 400 exposures. The files of one detector in one stream are alike, so
`FrameFilesAdapter` looks into the first that is there and opens those that are asked for.
What a file takes from another one (external links, virtual datasets) is read if that lies in the same
folder, as those of an Eiger's master do, and nothing else: a frame file would show what lies elsewhere on
the machine. A server of one's own uses it by its configuration:

    adapters_by_mimetype:
      application/x-hdf5: speckle_plugin.store.server.frame_files:FrameFilesAdapter

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import itertools
import math
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask.array
import h5py
import numpy as np
from fastapi import HTTPException
from numpy.typing import NDArray
from tiled.adapters.hdf5 import HDF5Adapter, HDF5ArrayAdapter, h5open
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

from speckle_plugin.frames.hdf5 import open_hdf5
from speckle_plugin.frames.source import FrameFileError, FrameSource
from speckle_plugin.store.server.unreadable import with_reasons

__all__ = ["FrameFilesAdapter"]


class FrameFilesAdapter(HDF5Adapter):
    """Tiled's HDF5 adapter, quicker where an array lies in many files of one shape.

    Raises
    ------
    HTTPException
        403, where a file refers to another one.
    """

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
        is_array = data_source.structure_family == StructureFamily.array
        if is_array and not options.get("slice") and not options.get("squeeze"):
            access = {key: value for key, value in options.items() if key not in ("slice", "squeeze")}
            read = _stack if len(data_source.assets) > 1 else _cut
            try:
                array = read(data_source, dataset, access)
            except _LinkedFramesError as found:
                array = _linked(data_source, dataset, found.path)
            if array is not None:
                metadata = dict(node.metadata_)
                return HDF5ArrayAdapter(array, data_source.structure, metadata=metadata, specs=node.specs)
        _check(*(asset.data_uri for asset in data_source.assets), dataset=dataset, options=options)
        return super().from_catalog(data_source, node, dataset=dataset, **options)

    @classmethod
    def from_uris(
        cls, *uris: str, dataset: str | None = None, **options: Any
    ) -> HDF5Adapter | HDF5ArrayAdapter:
        """Make the adapter of files that no node describes."""
        _check(*uris, dataset=dataset or "/", options=options)
        return super().from_uris(*uris, dataset=dataset, **options)


def _check(*uris: str, dataset: str, options: dict[str, Any]) -> None:
    """Look into files that Tiled's own adapter is to read."""
    access = {key: value for key, value in options.items() if key in ("swmr", "libver", "locking")}
    for uri in uris:
        with _opened(path_from_uri(uri), dataset, **access):
            pass


@contextmanager
def _opened(path: Any, dataset: str, **access: Any) -> Iterator[Any]:
    """Open a dataset or a group of a file, unless it is, or leads to, a part of another file."""
    with h5open(path, **access) as file:
        yield _own_node(file, path, dataset)


@contextmanager
def _looked_into(path: Any, dataset: str, **access: Any) -> Iterator[Any]:
    """Open the dataset of the first file; what is true of it is true of all."""
    with h5open(path, **access) as file:
        if _is_linked(file, dataset):
            raise _LinkedFramesError(path)
        yield _own_node(file, path, dataset)


class _LinkedFramesError(Exception):
    """The frames are to be read by :func:`_linked`."""

    def __init__(self, path: Any) -> None:
        super().__init__(path)
        self.path = path


def _own_node(file: h5py.File, path: Any, dataset: str) -> Any:
    node = file[dataset]
    if isinstance(node, h5py.Dataset):
        foreign = dataset if node.file != file or _is_elsewhere(node) else None
    else:
        foreign = dataset if node.file != file else _foreign_part(file)
    if foreign is not None:
        raise HTTPException(
            403,
            f"{path}: {foreign} lies in another file (external link, virtual dataset or raw data), and "
            "this server follows no such references: have the detector write its frames into this file",
        )
    return node


def _is_elsewhere(node: Any) -> bool:
    return isinstance(node, h5py.Dataset) and bool(node.is_virtual or node.external)


def _foreign_part(file: h5py.File) -> str | None:
    """Give the name of something in a file that lies in another one."""
    return file.visititems_links(
        lambda name, link: name if isinstance(link, h5py.ExternalLink) else None
    ) or file.visititems(lambda name, node: name if _is_elsewhere(node) else None)


def _linked(data_source: Any, dataset: str, first: Any) -> dask.array.Array | None:
    """Join files that take their frames from others of their folder, as the first one does.

    None if they hold others than the documents spoke of.
    """
    structure = data_source.structure
    paths = [path_from_uri(asset.data_uri) for asset in data_source.assets]
    with _source(first, dataset) as source:
        frames, *size = source.shape
        dtype = source.dtype
    wanted = math.prod(structure.shape[:-2])
    if dtype != structure.data_type.to_numpy_dtype() or tuple(size) != tuple(structure.shape[-2:]):
        return None

    def read(path: Any, start: int, stop: int) -> NDArray[Any]:
        with _source(path, dataset) as source:
            return source.read(start, stop)

    spans = [(path, start, min(start + 1, frames)) for path in paths for start in range(frames)][:wanted]
    if len(spans) < wanted:
        return None
    name = f"linked-frames-{uuid.uuid4()}"
    tasks = {(name, i, 0, 0): (read, *span) for i, span in enumerate(spans)}
    chunks = ((1,) * len(spans), *((n,) for n in size))
    return dask.array.Array(tasks, name, chunks, dtype=dtype).reshape(structure.shape)


def _is_linked(file: h5py.File, dataset: str) -> bool:
    """Tell whether frames are to be found by the rules of frame files: links, or a group that holds some."""
    if file.get(dataset, getlink=True) is None:
        return False
    try:
        node = file[dataset]
    except KeyError:  # a link that HDF5 does not resolve
        return True
    return isinstance(node, h5py.Group) or node.file != file or bool(node.is_virtual)


@contextmanager
def _source(path: Any, dataset: str) -> Iterator[FrameSource]:
    """Open frames by the rules of frame files: from other files of the same folder, and from no others."""
    try:
        with open_hdf5(path, dataset) as source:
            yield source
    except FrameFileError as error:
        raise HTTPException(404 if error.not_yet else 403, str(error)) from error


def _cut(data_source: Any, dataset: str, access: dict[str, Any]) -> dask.array.Array | None:
    """Give as much of a file as the documents spoke of; None if it holds no more than that.

    During a flight, and after a plan was aborted, a file holds frames that no document names (yet).
    Tiled leaves them out by itself only where the structure has the dimensions of the dataset, not where
    an event's shape is (1, rows, columns).
    """
    (asset,) = data_source.assets
    path, wanted = path_from_uri(asset.data_uri), data_source.structure.shape
    with _looked_into(path, dataset, **access) as node:
        shape = getattr(node, "shape", ())
    rows, rest = divmod(math.prod(wanted), max(math.prod(shape[1:]), 1))
    if not shape or rest or rows >= shape[0] or not math.prod(wanted):
        return None
    array = HDF5ArrayAdapter.lazy_load_hdf5_array(path, dataset=dataset, **access)
    if array.dtype != data_source.structure.data_type.to_numpy_dtype():
        return None
    return array[:rows].reshape(wanted)


def _stack(data_source: Any, dataset: str, access: dict[str, Any]) -> dask.array.Array | None:
    """Join the files along their first axis, opening the first only; None if they cannot be alike."""
    structure = data_source.structure
    paths = [path_from_uri(asset.data_uri) for asset in data_source.assets]
    for number, path in enumerate(paths, start=1):
        try:
            with _looked_into(path, dataset, **access) as node:
                shape, chunks, dtype = node.shape, node.chunks or node.shape, node.dtype
            break
        except OSError:  # a file that is lost must not take the others with it
            if number == len(paths):
                raise
    if (
        len(shape) < 2
        or dtype != structure.data_type.to_numpy_dtype()
        or not math.prod(shape)
        or math.prod(structure.shape) % math.prod(shape)
        or len(paths) < (files := math.prod(structure.shape) // math.prod(shape))
        or shape[1:] != structure.shape[len(structure.shape) - len(shape) + 1 :]
    ):
        return None
    del paths[files:]  # in mid-scan the catalog may name files that the structure does not count yet

    def read(path: Any, start: int, stop: int) -> NDArray[Any]:
        with with_reasons([str(path)], dataset), _opened(path, dataset, **access) as node:
            if node.shape != shape:
                raise HTTPException(
                    409,
                    f"{path}: {dataset} has the shape {node.shape}, but in the first file of the stream "
                    f"{shape}; files of one stream must hold equally many frames of one shape",
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
