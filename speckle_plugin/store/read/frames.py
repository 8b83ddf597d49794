"""Finding single frames by what the network said of them, and reading just those.

`find_frames` gives a table with a row for each frame; `read_frames` gives the frames of
such a table. Read is only what is needed: the server picks the runs, then come the small
columns of their result tables, then the frames themselves, in contiguous slices.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.schema import CLASS_NAMES, POSSIBLE, Flag, Opinion, Status, split_numbers
from speckle_plugin.store.read.images import StoredImages
from speckle_plugin.store.read.known_labels import check_label, check_number
from speckle_plugin.store.read.opinions import OPINION_COLUMNS, OpinionSearch, with_opinions
from speckle_plugin.store.read.queries import (
    check_confidence,
    check_flag,
    find_runs,
    has_label,
    has_possible,
)
from speckle_plugin.store.read.stored_run import StoredRun

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns
    from pandas import DataFrame

__all__ = ["FRAME_COLUMNS", "find_frames", "frames_of", "locate_frames", "read_frames"]

FRAME_COLUMNS = {
    "run_uid": "str",
    "scan_id": "Int64",
    "image_key": "str",
    "frame_index": "int64",
    "primary_seq_num": "int64",
    "disk_number": "int64",
    "class_name": "str",
    "confidence": "float64",
    "entropy": "float64",
    "novelty": "float64",
    POSSIBLE: "str",
    "flags": "str",
    "status": "str",
    "truth_disk_number": "Int64",
    "time": "float64",
    **OPINION_COLUMNS,
}
"""Columns of the table and their types; positions follow, `float64`, named by their keys. `time` is that of
the frame's event, in seconds since the epoch, and not a number where the run does not tell it. `class_name`
is empty but where an imported network has names for its classes; `disk_number` is then the class's number.
`possible` has the disk numbers that are possible, such as `6,7,8`; it is empty where nothing tells."""

_RESULTS = [
    "image_key",
    "frame_index",
    "primary_seq_num",
    "disk_number",
    "confidence",
    "entropy",
    "novelty",
    POSSIBLE,
    "flags",
    "status",
]


def find_frames(
    runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun],
    *,
    label: int | str | None = None,
    min_confidence: float | None = None,
    max_confidence: float | None = None,
    flag: Flag | str | None = None,
    status: Status | str | None = None,
    image_key: str | None = None,
    positions: Mapping[str, tuple[float, float]] | None = None,
    with_frames: bool = False,
    stream: str | None = None,
    certificate: Opinion | str | None = None,
    disagrees: bool | None = None,
    mean_radius: tuple[float, float] | None = None,
    radius_spread: tuple[float, float] | None = None,
    with_odd: bool = False,
    possible: int | None = None,
) -> DataFrame:
    """Find the frames for which all that is given holds.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns, BlueskyRun or iterable of BlueskyRun
        Where to look. In a catalog, finished runs that cannot hold such a frame are left
        out by the server, and runs that are still open are looked through.
    label : int or str
        The disk number, or the name of the class of an imported network, that the frame got: one that a
        network gives. Frames that are out of distribution,
        whose label is not to be trusted, are left out, unless `flag` or `with_odd` says otherwise.
    min_confidence, max_confidence : float
        The frame was classified with at least the one and less than the other, 0 to 1.
    flag : Flag or str
        One of the frame's flags.
    status : Status or str
        What became of the frame.
    image_key : str
        The detector's key.
    positions : dict of (lowest, highest)
        Bounds, both included, of motors or other numbers of the frame's event, by key.
    with_frames : bool
        Whether to read the frames too, into the column `frame`, arrays of shape (rows, columns).
    stream : str, optional
        A result stream such as `classification`; by default the newest of each run.
    certificate : Opinion or str
        What the second opinion on the frame is: solved, not_explained, undecided or left.
    disagrees : bool
        The frame is certified, and its label is another number (or the same).
    mean_radius, radius_spread : (lowest, highest)
        Bounds, both included, of mean and standard deviation of the radii of a certified frame, in the
        inverse of the unit of k.
    with_odd : bool
        Whether frames out of distribution are found by their label, or by what is possible, too.
    possible : int
        A disk number that is possible for the frame, whatever its label; see the column of that name. Frames
        of versions before 0.2 have none.

    Returns
    -------
    DataFrame
        One row for each frame, of the columns `FRAME_COLUMNS` and the positions: the
        moved motors, or all numbers of the event where nothing was moved. In the order of
        the runs and, in each, of the results.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense, or no run has a key of `positions`.
    """
    import pandas as pd

    if _is_run(runs):
        runs = [runs]
    elif not hasattr(runs, "search"):
        runs = list(runs)
    conditions = _Conditions(
        None if label is None else check_label(label, runs),
        None if min_confidence is None else check_confidence("min_confidence", min_confidence),
        None if max_confidence is None else check_confidence("max_confidence", max_confidence),
        None if flag is None else check_flag(flag),
        None if status is None else Status(status),
        image_key,
        OpinionSearch.read(certificate, disagrees, mean_radius, radius_spread),
        with_odd or flag is not None,
        None if possible is None else check_number("possible", possible, runs),
    )
    bounds = {key: _check_bounds(key, low_high) for key, low_high in (positions or {}).items()}
    candidates = list(_candidates(runs, conditions, pruned=stream is None))
    tables: list[DataFrame] = []
    numbers: set[str] = set()
    for run in candidates:
        table = frames_of(StoredRun(run), stream, conditions.mask, tuple(bounds))
        if table is None:
            continue
        numbers.update(table.columns)
        if set(bounds) <= set(table.columns):
            inside = [table[key].between(low, high) for key, (low, high) in bounds.items()]
            tables.append(table[np.logical_and.reduce(inside)] if inside else table)
    if numbers and (unknown := set(bounds) - numbers):
        known = sorted(numbers - set(FRAME_COLUMNS))
        raise ValueError(f"no run has the positions {sorted(unknown)}; there are {known}")
    empty = pd.DataFrame({key: pd.Series(dtype=kind) for key, kind in FRAME_COLUMNS.items()})
    tables = [table for table in tables if not table.empty]
    table = pd.concat(tables, ignore_index=True).astype(FRAME_COLUMNS) if tables else empty
    if with_frames:
        frames = dict(read_frames(candidates, table))
        table["frame"] = pd.Series([frames[label] for label in table.index], index=table.index, dtype=object)
    return table


def frames_of(
    stored: StoredRun,
    stream: str | None = None,
    mask: Callable[[DataFrame], NDArray[np.bool_]] | None = None,
    more: tuple[str, ...] = (),
) -> DataFrame | None:
    """Give the table of one run's frames, of the columns of :func:`find_frames`.

    Parameters
    ----------
    stored : StoredRun
    stream : str, optional
        A result stream; by default the newest.
    mask : callable, optional
        Tells by the results which frames are wanted.
    more : tuple of str
        Numbers of the frames' events to give besides.

    Returns
    -------
    DataFrame or None
        None if there are no results, or none is wanted.
    """
    results = stored.result_columns(_RESULTS, stream)
    if results is None:
        return None
    # An older version stored none: then the column is of numbers.
    results[POSSIBLE] = results[POSSIBLE].astype(object).fillna("")
    results = with_opinions(stored, results)
    names = dict(enumerate(stored.model.get(CLASS_NAMES) or (), start=1))
    results["class_name"] = [names.get(number, "") for number in results["disk_number"]]
    if mask is not None:
        results = results[mask(results)]
    return None if results.empty else _with_circumstances(stored, results, more)


def read_frames(
    runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun], table: DataFrame
) -> Iterator[tuple[Hashable, NDArray[Any]]]:
    """Read the frames of a table, one after the other, so that any number fits in memory.

    Parameters
    ----------
    runs : CatalogOfBlueskyRuns, BlueskyRun or iterable of BlueskyRun
        Where the frames are.
    table : DataFrame
        What `find_frames` gave, or part of it: `run_uid`, `image_key`, `frame_index`.

    Yields
    ------
    index label of the row, and frame of shape (rows, columns) in the detector's type
        By run and image key in the table's order, then by frame index.

    Raises
    ------
    ValueError
        If a frame is not in the run, or a run not in `runs`.
    """
    for images, group in locate_frames(runs, table):
        wanted = group["frame_index"].sort_values()
        yield from zip(wanted.index, images.read(wanted.to_numpy()), strict=True)


def locate_frames(
    runs: CatalogOfBlueskyRuns | BlueskyRun | Iterable[BlueskyRun], table: DataFrame
) -> Iterator[tuple[StoredImages, DataFrame]]:
    """Give the rows of a table by run and image key, each with the frames that they are of.

    Raises
    ------
    ValueError
        If a run is not in `runs`, or has no such image key.
    """
    by_uid: Any = runs
    if _is_run(runs):
        by_uid = {runs.start["uid"]: runs}  # type: ignore[union-attr]
    elif not hasattr(runs, "search"):
        by_uid = {run.start["uid"]: run for run in runs}
    for (uid, key), group in table.groupby(["run_uid", "image_key"], sort=False):
        try:
            run = by_uid[uid]
        except KeyError as error:
            raise ValueError(f"the run {uid} is not among the given ones") from error
        yield StoredRun(run).images_of(str(key)), group


class _Conditions:
    """What is asked of a result, on the server and in its table."""

    def __init__(
        self,
        label: int | str | None,
        min_confidence: float | None,
        max_confidence: float | None,
        flag: Flag | None,
        status: Status | None,
        image_key: str | None,
        opinions: OpinionSearch,
        with_odd: bool,
        possible: int | None,
    ) -> None:
        self.with_odd = with_odd
        self.possible = possible
        self.opinions = opinions
        self.label, self.flag, self.status, self.image_key = label, flag, status, image_key
        self.min_confidence, self.max_confidence = min_confidence, max_confidence

    def prune(self, catalog: CatalogOfBlueskyRuns) -> CatalogOfBlueskyRuns:
        """Leave out finished runs that hold no such frame."""
        if self.label is not None and not self.with_odd:  # summaries count odd frames apart
            catalog = catalog.search(has_label(self.label))
        if self.possible is not None and not self.with_odd:
            catalog = catalog.search(has_possible(self.possible))
        for query in self.opinions.of_frames():
            catalog = catalog.search(query)
        return find_runs(
            catalog,
            max_confidence=self.max_confidence,
            flag=self.flag,
            flagged=True if self.status is Status.FLAGGED else None,
            deferred=True if self.status is Status.DEFERRED else None,
        )

    def mask(self, results: DataFrame) -> NDArray[np.bool_]:
        keep = self.opinions.mask(results)
        if self.label is not None:
            # The number of a class that has a name is no disk number.
            if isinstance(self.label, str):
                keep &= (results["class_name"] == self.label).to_numpy()
            else:
                unnamed = results["class_name"] == ""
                keep &= (unnamed & (results["disk_number"] == self.label)).to_numpy()
        if self.possible is not None:
            keep &= np.array([self.possible in split_numbers(text) for text in results[POSSIBLE]], dtype=bool)
        if not self.with_odd and (self.label is not None or self.possible is not None):
            odd = Flag.OUT_OF_DISTRIBUTION
            keep &= np.array([odd not in text.split(",") for text in results["flags"]], dtype=bool)
        # Frames without a label have a confidence of no meaning.
        if self.min_confidence is not None or self.max_confidence is not None:
            keep &= (results["status"] == Status.CLASSIFIED).to_numpy()
        if self.min_confidence is not None:
            keep &= (results["confidence"] >= self.min_confidence).to_numpy()
        if self.max_confidence is not None:
            keep &= (results["confidence"] < self.max_confidence).to_numpy()
        if self.flag is not None:
            keep &= np.array([self.flag in text.split(",") for text in results["flags"]], dtype=bool)
        if self.status is not None:
            keep &= (results["status"] == self.status).to_numpy()
        if self.image_key is not None:
            keep &= (results["image_key"] == self.image_key).to_numpy()
        return keep


def _is_run(runs: Any) -> bool:
    return hasattr(runs, "start") and hasattr(runs, "documents")


def _candidates(runs: Any, conditions: _Conditions, *, pruned: bool) -> Iterator[BlueskyRun]:
    if not hasattr(runs, "search"):
        yield from runs
    elif not pruned:
        yield from runs.values()
    else:
        from tiled.queries import KeyPresent

        yield from conditions.prune(runs.search(KeyPresent("stop.uid"))).values()
        yield from runs.search(KeyPresent("stop.uid", exists=False)).values()


def _check_bounds(key: str, bounds: Any) -> tuple[float, float]:
    try:
        low, high = bounds
        if low <= high:
            return float(low), float(high)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"the bounds of {key!r} must be (lowest, highest), not {bounds!r}")


def _with_circumstances(stored: StoredRun, results: DataFrame, more: tuple[str, ...]) -> DataFrame:
    """Add to the results of a run what else is known of the frames."""
    import pandas as pd

    parts = []
    for key, group in results.groupby("image_key", sort=False):
        frame_index, seq_num = group["frame_index"].to_numpy(), group["primary_seq_num"].to_numpy()
        found = stored.images_of(str(key)).circumstances(frame_index, seq_num, more)
        parts.append(group.assign(**found))
    table = pd.concat(parts).sort_index()
    table.insert(0, "run_uid", stored.uid)
    table.insert(1, "scan_id", stored.start.get("scan_id", pd.NA))
    others = [key for key in table.columns if key not in FRAME_COLUMNS]
    return table[[*FRAME_COLUMNS, *others]].astype(FRAME_COLUMNS)
