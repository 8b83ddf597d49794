"""Files of what was found: tables as CSV or Parquet, and tables with their frames as HDF5."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speckle_plugin.store.read.frames import locate_frames, read_frames
from speckle_plugin.store.read.xarrays import common_shape, plain_columns

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
    from pandas import DataFrame

__all__ = ["FRAME_SUFFIXES", "TABLE_SUFFIXES", "export_table"]

TABLE_SUFFIXES = (".csv", ".parquet")
FRAME_SUFFIXES = (".h5", ".hdf5", ".nxs")


def export_table(
    table: DataFrame,
    path: Path | str,
    runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun] = (),
    suffix: str | None = None,
) -> None:
    """Write a table; its frames too, if the file is HDF5.

    Parameters
    ----------
    table : DataFrame
        What `find_frames` gave, or part of it; for CSV and Parquet any table.
    path : path
        A file that is there is replaced.
    runs : CatalogOfBlueskyRuns, BlueskyRun or iterable of BlueskyRun
        Where the frames are.
    suffix : str, optional
        Of the format, if not that of the path: `.csv`, `.parquet`, or `.h5`, `.hdf5`, `.nxs` for HDF5.

    Raises
    ------
    ValueError
        If the suffix is another, a frame or run is not there, or the table has no frames.

    Notes
    -----
    The HDF5 file is made as NeXus has it (https://manual.nexusformat.org): a group NXdata for each image
    key, with the frames as its signal and the columns of the table beside them, all along the first axis.
    Viewers such as silx view or h5web open it at the frames. Frames are written one at a time.
    """
    suffix = Path(path).suffix if suffix is None else suffix
    if suffix == ".csv":
        table.drop(columns="frame", errors="ignore").to_csv(path, index=False)
    elif suffix == ".parquet":
        table.drop(columns="frame", errors="ignore").to_parquet(path, index=False)
    elif suffix in FRAME_SUFFIXES:
        _write_nexus(table.reset_index(drop=True), path, runs)
    else:
        known = ", ".join((*TABLE_SUFFIXES, *FRAME_SUFFIXES))
        raise ValueError(f"can't write {path}: its name must end with one of {known}")


def _write_nexus(
    table: DataFrame, path: Path | str, runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun]
) -> None:
    import h5py

    if not hasattr(runs, "search") and not hasattr(runs, "documents"):
        runs = list(runs)  # they are gone through for each image key
    if table.empty:
        raise ValueError("the table has no rows: there are no frames to write; widen the query")
    with h5py.File(path, "w") as file:
        entry = file.create_group("entry")
        entry.attrs["NX_class"] = "NXentry"
        for key, rows in table.groupby("image_key", sort=False):
            rows = rows.reset_index(drop=True)
            located = [images for images, _ in locate_frames(runs, rows)]
            shape = common_shape(located)
            group = entry.create_group(str(key).replace("/", "_"))
            group.attrs.update({"NX_class": "NXdata", "signal": "frames"})
            frames = group.create_dataset(
                "frames",
                (len(rows), *shape),
                np.result_type(*(images.dtype for images in located)),
                chunks=(1, *shape),
            )
            frames.attrs["interpretation"] = "image"
            for place, frame in read_frames(runs, rows):
                frames[place] = frame
            for name, values in plain_columns(rows, ("frames",)).items():
                is_text = values.dtype.kind == "U"
                column = group.create_dataset(
                    name,
                    data=values.astype(object) if is_text else values,
                    dtype=h5py.string_dtype() if is_text else None,
                )
                if name == "time":
                    column.attrs["units"] = "s"
            entry.attrs.setdefault("default", group.name.rpartition("/")[2])
        file.attrs.update({"NX_class": "NXroot", "default": "entry", "creator": "speckle-plugin"})
