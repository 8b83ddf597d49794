"""Frames of a table as an xarray Dataset: pixels when they are needed, all else as coordinates."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.store.read.frames import locate_frames
from speckle_plugin.store.read.images import StoredImages

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
    from pandas import DataFrame
    from xarray import Dataset

__all__ = ["common_shape", "frames_to_xarray", "plain_columns"]

DIMENSIONS = ("frame", "row", "column")
BYTES_IN_A_CHUNK = 8 * 2**20
"""A single frame is read with the others of its chunk; a chunk is one request, if they are neighbours."""


def frames_to_xarray(
    runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun], table: DataFrame
) -> Dataset:
    """Give the frames of a table, read when they are computed.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns, BlueskyRun or iterable of BlueskyRun
        Where the frames are. The store must stay open until they are read.
    table : DataFrame
        What `find_frames` gave, or part of it.

    Returns
    -------
    Dataset
        The variable `frames`, a dask array of shape (frame, row, column), with the columns of the table as
        coordinates along `frame`: run, label, confidence, positions, and `time` (UTC) among them. A position
        named as one of the dimensions, or `frames`, has an underscore after its name.

    Raises
    ------
    ValueError
        If there are no rows, frames are of several sizes, or one is not there.

    Examples
    --------
    >>> table = find_frames(catalog, label=7)
    >>> frames = frames_to_xarray(catalog, table)["frames"]
    >>> frames.groupby("run_uid").mean("frame").compute()
    """
    import dask.array
    import pandas as pd
    import xarray
    from dask.delayed import delayed

    located = {
        (rows["run_uid"].iloc[0], rows["image_key"].iloc[0]): images
        for images, rows in locate_frames(runs, table)
    }
    shape = common_shape(located.values())
    chunks = []
    for images, indices in _chunks(table, located):
        images.check(indices)
        block = delayed(_read)(images, indices)
        chunks.append(dask.array.from_delayed(block, (len(indices), *shape), images.dtype))
    coordinates: dict[str, Any] = {"frame": table.index.to_numpy()}
    for name, values in plain_columns(table, (*DIMENSIONS, "frames")).items():
        coordinates[name] = ("frame", pd.to_datetime(values, unit="s") if name == "time" else values)
    return xarray.Dataset({"frames": (DIMENSIONS, dask.array.concatenate(chunks))}, coordinates)


def common_shape(images: Iterable[StoredImages]) -> tuple[int, int]:
    """Give rows and columns of frames that are to stand in one array.

    Raises
    ------
    ValueError
        If there are none, or they are of several sizes.
    """
    shapes = sorted({each.shape for each in images})
    if not shapes:
        raise ValueError("the table has no rows: there are no frames to give; widen the query")
    if len(shapes) > 1:
        sizes = ", ".join(f"{rows} x {columns}" for rows, columns in shapes)
        raise ValueError(
            f"the frames are of several sizes ({sizes} pixels) and cannot stand in one array: choose by "
            "run_uid or image_key"
        )
    return shapes[0]


def _chunks(
    table: DataFrame, located: dict[tuple[str, str], StoredImages]
) -> Iterator[tuple[StoredImages, NDArray[np.int64]]]:
    """Cut a table into rows of one run and image key that follow each other and are read at once."""
    keys = list(zip(table["run_uid"], table["image_key"], strict=True))
    indices = table["frame_index"].to_numpy(np.int64)
    start = 0
    for i in range(1, len(keys) + 1):
        images = located[keys[start]]
        most = max(1, BYTES_IN_A_CHUNK // (images.shape[0] * images.shape[1] * images.dtype.itemsize))
        if i == len(keys) or keys[i] != keys[start] or i - start >= most:
            yield images, indices[start:i]
            start = i


def _read(images: StoredImages, indices: NDArray[np.int64]) -> NDArray[Any]:
    frames = np.empty((len(indices), *images.shape), images.dtype)
    order = np.argsort(indices, kind="stable")
    for place, frame in zip(order, images.read(indices[order]), strict=True):
        frames[place] = frame
    return frames


def plain_columns(table: DataFrame, taken: Iterable[str] = ()) -> dict[str, NDArray[Any]]:
    """Give the columns of a table of frames, all but the frames, as arrays without pandas' own types.

    Parameters
    ----------
    table : DataFrame
    taken : iterable of str
        Names that mean something else; a column of that name gets an underscore after it.

    Returns
    -------
    dict
        Texts as `str`, numbers as they are, and as `float64` with NaN where some are missing.
    """
    columns = {}
    for name in table.columns:
        column = table[name]
        if column.dtype == object:  # the frames
            continue
        if column.dtype.kind not in "iufb" or not isinstance(column.dtype, np.dtype):
            is_text = str(column.dtype) == "str"
            missing = bool(column.isna().any())
            column = column.astype(str if is_text else "float64" if missing else "int64")
        values = column.to_numpy()
        columns[f"{name}_" if name in taken else name] = (
            values.astype(str) if values.dtype == object else values
        )
    return columns
