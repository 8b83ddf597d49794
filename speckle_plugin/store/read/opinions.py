"""Searches by second opinions: certificate, disagreement with the network, radii."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from speckle_plugin.schema import STRUCTURE_SUMMARY, Opinion, Status
from speckle_plugin.store.read.stored_run import StoredRun

if TYPE_CHECKING:
    from pandas import DataFrame

__all__ = ["OPINION_COLUMNS", "OpinionSearch", "with_opinions"]

OPINION_COLUMNS = {
    "certificate": "str",
    "structure_disk_number": "Int64",
    "mean_radius": "float64",
    "radius_spread": "float64",
}
"""What a table of frames tells of second opinions: an empty certificate where none was asked, and numbers
where it is `solved`."""

Bounds = tuple[float, float]


class OpinionSearch(NamedTuple):
    """What is asked of second opinions; None for what is not asked."""

    certificate: Opinion | None = None
    disagrees: bool | None = None
    mean_radius: Bounds | None = None
    radius_spread: Bounds | None = None

    @classmethod
    def read(
        cls,
        certificate: Any = None,
        disagrees: Any = None,
        mean_radius: Any = None,
        radius_spread: Any = None,
    ) -> OpinionSearch:
        """Check what is asked.

        Raises
        ------
        ValueError, TypeError
            If an argument makes no sense.
        """
        if certificate is not None:
            try:
                certificate = Opinion(certificate)
            except ValueError as error:
                known = ", ".join(Opinion)
                raise ValueError(f"there is no certificate {certificate!r}: there are {known}") from error
        if disagrees is not None and not isinstance(disagrees, bool):
            raise TypeError(f"disagrees must be True or False, not {disagrees!r}")
        return cls(
            certificate,
            disagrees,
            None if mean_radius is None else _bounds("mean_radius", mean_radius),
            None if radius_spread is None else _bounds("radius_spread", radius_spread),
        )

    def of_runs(self) -> list[Any]:
        """Give the queries for runs: some frame has the certificate, or disagrees; radii are means of all."""
        from tiled.queries import Key

        queries = self._counts(self.disagrees)
        for name, bounds in self._radii():
            key = Key(f"stop.{STRUCTURE_SUMMARY}.{name}.mean")
            queries += [key >= bounds[0], key <= bounds[1]]
        return queries

    def of_frames(self) -> list[Any]:
        """Give queries that lose no run with a frame for which it holds."""
        from tiled.queries import Key

        # In a run in which one frame disagrees, others may agree.
        queries = self._counts(self.disagrees or None)
        for name, bounds in self._radii():
            summary = f"stop.{STRUCTURE_SUMMARY}.{name}"
            queries += [Key(f"{summary}.highest") >= bounds[0], Key(f"{summary}.lowest") <= bounds[1]]
        return queries

    def _counts(self, disagrees: bool | None) -> list[Any]:
        from tiled.queries import Key

        summary = f"stop.{STRUCTURE_SUMMARY}"
        queries: list[Any] = []
        if self.certificate is not None:
            queries.append(Key(f"{summary}.{self.certificate}") > 0)
        if disagrees is not None:
            key = Key(f"{summary}.disagree")
            queries.append(key > 0 if disagrees else key == 0)
        return queries

    def _radii(self) -> list[tuple[str, Bounds]]:
        named = (("mean_radius", self.mean_radius), ("radius_spread", self.radius_spread))
        return [(name, bounds) for name, bounds in named if bounds is not None]

    def mask(self, frames: DataFrame) -> NDArray[np.bool_]:
        """Tell for which rows of a table with the :data:`OPINION_COLUMNS` it holds."""
        keep = np.ones(len(frames), dtype=bool)
        if self.certificate is not None:
            keep &= (frames["certificate"] == self.certificate).to_numpy()
        if self.disagrees is not None:
            both = (frames["certificate"] == Opinion.SOLVED) & (frames["status"] == Status.CLASSIFIED)
            other = (frames["structure_disk_number"] != frames["disk_number"]).fillna(False)
            keep &= (both & (other if self.disagrees else ~other)).to_numpy(dtype=bool)
        for name, bounds in self._radii():
            keep &= frames[name].between(*bounds).to_numpy()
        return keep


def with_opinions(stored: StoredRun, results: DataFrame) -> DataFrame:
    """Give the results of a run with the :data:`OPINION_COLUMNS` beside them."""
    import pandas as pd

    found = None
    if stored.structure_summary or stored.stop is None:
        columns = ["image_key", "frame_index", "certificate", "disk_number", "mean_radius", "radius_spread"]
        found = stored.structure_columns(columns)
    if found is None:
        empty = {name: pd.Series(index=results.index, dtype=kind) for name, kind in OPINION_COLUMNS.items()}
        return results.assign(**{**empty, "certificate": ""})
    found = found.rename(columns={"disk_number": "structure_disk_number"})
    # A row whose writing was tried twice may be in the table twice.
    found = found.drop_duplicates(["image_key", "frame_index"], keep="last")
    joined = results.merge(found, "left", on=["image_key", "frame_index"]).set_axis(results.index)
    joined["certificate"] = joined["certificate"].fillna("")
    numbers_of = ["structure_disk_number", "mean_radius", "radius_spread"]
    joined[numbers_of] = joined[numbers_of].where(joined["certificate"] == Opinion.SOLVED)
    return joined.astype(OPINION_COLUMNS)


def _bounds(name: str, value: Any) -> Bounds:
    try:
        low, high = value
        sound = all(isinstance(n, numbers.Real) and not math.isnan(n) for n in (low, high)) and low <= high
    except (TypeError, ValueError):
        sound = False
    if not sound:
        raise ValueError(f"{name} must be (lowest, highest), not {value!r}")
    return float(low), float(high)
