"""Finding runs by what the network saw in them.

`find_runs` is answered by the server from the runs' stop documents; nothing else is read.
It sees finished runs only. `find_frames` (in `frames`) looks for single frames.
"""

from __future__ import annotations

import math
import numbers
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import SUMMARY

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["check_confidence", "check_disk_number", "find_runs", "timestamp"]

When = float | str | date | datetime
"""A point in time: seconds since 1970, ISO text, or a (date)time; local if without zone."""


def find_runs(
    catalog: CatalogOfBlueskyRuns,
    *,
    label: int | None = None,
    max_confidence: float | None = None,
    model: str | None = None,
    model_version: str | None = None,
    flagged: bool | None = None,
    deferred: bool | None = None,
    since: When | None = None,
    until: When | None = None,
    plan: str | None = None,
) -> CatalogOfBlueskyRuns:
    """Find the runs for which all that is given holds.

    Parameters
    ----------
    catalog : CatalogOfBlueskyRuns
        The runs, perhaps the result of an earlier search.
    label : int
        Disk number that at least one frame got.
    max_confidence : float
        At least one frame was classified with less confidence than this, 0 to 1.
    model, model_version : str
        Name and version of the model that classified the run.
    flagged, deferred : bool
        Whether frames are without a label for a reason, or not classified yet.
    since, until : float, str, date or datetime
        The run started at this time or later, or before this time.
    plan : str
        Name of the plan.

    Returns
    -------
    CatalogOfBlueskyRuns
        The runs that match, to be searched further; iterating over `.values()` gives them.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense.

    Examples
    --------
    >>> find_runs(store.runs, label=7, max_confidence=0.8, since="2026-11-01")
    """
    from tiled.queries import Contains, Key

    summary = f"stop.{SUMMARY}"
    queries: list[Any] = []
    if label is not None:
        queries.append(Contains(f"{summary}.labels", check_disk_number("label", label)))
    if max_confidence is not None:
        queries.append(Key(f"{summary}.min_confidence") < check_confidence("max_confidence", max_confidence))
    for key, text in (
        (f"{summary}.model", model),
        (f"{summary}.model_version", model_version),
        ("start.plan_name", plan),
    ):
        if text is not None:
            if not isinstance(text, str):
                raise TypeError(f"{key} is searched by a str, not by {text!r}")
            queries.append(Key(key) == text)
    for name, wanted in (("flagged", flagged), ("deferred", deferred)):
        if wanted is not None:
            key = Key(f"{summary}.{name}")
            queries.append(key > 0 if wanted else key == 0)
    after = None if since is None else timestamp("since", since)
    before = None if until is None else timestamp("until", until)
    if after is not None:
        queries.append(Key("start.time") >= after)
    if before is not None:
        queries.append(Key("start.time") < before)
    if after is not None and before is not None and after >= before:
        raise ValueError(f"nothing can have started since {since!r} and before {until!r}; exchange them")
    for query in queries:
        catalog = catalog.search(query)
    return catalog


def check_disk_number(name: str, value: Any) -> int:
    """Give a disk number as a plain int.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a disk number, an int such as 7, not {value!r}")
    if value < 0:
        raise ValueError(f"{name} must be a disk number, not {value}")
    return int(value)


def check_confidence(name: str, value: Any) -> float:
    """Give a confidence as a plain float.

    Raises
    ------
    TypeError, ValueError
        If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} must be a probability from 0 to 1, not {value!r}")
    if not 0 <= float(value) <= 1:
        raise ValueError(f"{name} must be a probability from 0 to 1, not {value} (percent?)")
    return float(value)


def timestamp(name: str, when: When) -> float:
    """Give a point in time as seconds since 1970.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    when : float, str, date or datetime
        Text as in ISO 8601: "2026-11-22", "2026-11-22 14:30", "2026-11-22T14:30:00+01:00".

    Raises
    ------
    TypeError, ValueError
        If it is no point in time.
    """
    if isinstance(when, str):
        try:
            when = datetime.fromisoformat(when.strip())
        except ValueError as error:
            raise ValueError(
                f'{name} must be a time such as "2026-11-22" or "2026-11-22 14:30", not {when!r}'
            ) from error
    if isinstance(when, date) and not isinstance(when, datetime):
        when = datetime(when.year, when.month, when.day)
    if isinstance(when, datetime):
        return when.timestamp()
    if isinstance(when, bool) or not isinstance(when, numbers.Real) or not math.isfinite(when):
        raise TypeError(f"{name} must be seconds since 1970, a str, a date or a datetime, not {when!r}")
    return float(when)
