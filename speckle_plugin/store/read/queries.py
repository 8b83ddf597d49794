"""Finding runs by what the network saw in them.

`find_runs` is answered from the runs' start and stop documents, by the server where it can (see `exact`).
It sees finished runs only. `find_frames` (in `frames`) looks for single frames.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Mapping
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

from speckle_plugin.schema import (
    COUNTS,
    FLAG_COUNTS,
    NETWORKS,
    POSSIBLE,
    SEVERAL_NETWORKS,
    SUMMARY,
    Flag,
    Opinion,
)
from speckle_plugin.store.read.exact import Condition, equals, search
from speckle_plugin.store.read.known_labels import check_label, check_number
from speckle_plugin.store.read.opinions import OpinionSearch
from speckle_plugin.store.read.stored_run import StoredRun
from speckle_plugin.store.write.recovery import RECOVERED

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["check_confidence", "check_flag", "find_runs", "has_label", "has_possible", "timestamp"]

_SUMMARY = f"stop.{SUMMARY}"

When = float | str | date | datetime
"""A point in time: seconds since 1970, ISO text, or a (date)time; local if without zone."""


def find_runs(
    catalog: CatalogOfBlueskyRuns,
    *,
    label: int | str | None = None,
    max_confidence: float | None = None,
    model: str | None = None,
    model_version: str | None = None,
    flag: Flag | str | None = None,
    flagged: bool | None = None,
    deferred: bool | None = None,
    since: When | None = None,
    until: When | None = None,
    plan: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    certificate: Opinion | str | None = None,
    disagrees: bool | None = None,
    mean_radius: tuple[float, float] | None = None,
    radius_spread: tuple[float, float] | None = None,
    possible: int | None = None,
) -> CatalogOfBlueskyRuns:
    """Find the runs for which all that is given holds.

    Parameters
    ----------
    catalog : CatalogOfBlueskyRuns
        The runs, perhaps the result of an earlier search.
    label : int or str
        Disk number, or name of the class of an imported network, that at least one frame got: one that a
        network gives. Frames out of distribution, whose
        label is not to be trusted, do not count.
    max_confidence : float
        At least one frame was classified with less confidence than this, 0 to 1.
    model, model_version : str
        Name and version of a network that classified frames of the run.
    flag : Flag or str
        At least one frame has this flag.
    flagged, deferred : bool
        Whether frames are without a label for a reason, or not classified yet.
    since, until : float, str, date or datetime
        The run started at this time or later, or before this time.
    plan : str
        Name of the plan.
    metadata : mapping
        What the start document has under these keys, such as `{"sample": "A7"}`. The dot in `sample.name`
        leads into a nested mapping. Values are equal as `exact.equals` says.
    certificate : Opinion or str
        At least one frame has this second opinion: solved, not_explained, undecided or left.
    disagrees : bool
        Whether a certified frame got another disk number from the network.
    mean_radius, radius_spread : (lowest, highest)
        Bounds, both included, of the mean radius of the certified frames, and of the mean of their standard
        deviations, over the run; in the inverse of the unit of k.
    possible : int
        Disk number that is possible for at least one frame, whatever its label. Frames out of distribution,
        and those of versions before 0.2, do not count.

    Returns
    -------
    CatalogOfBlueskyRuns
        The runs that match, to be searched further; iterating over `.values()` gives them.

    Raises
    ------
    ValueError, TypeError
        If an argument makes no sense, such as a label that no network gives: the message lists those known.

    Examples
    --------
    >>> find_runs(store.runs, label=7, max_confidence=0.8, since="2026-11-01")
    """
    from tiled.queries import Key

    queries: list[Any] = []
    if label is not None:
        queries.append(has_label(check_label(label, catalog)))
    if possible is not None:
        queries.append(has_possible(check_number("possible", possible, catalog)))
    if max_confidence is not None:
        queries.append(Key(f"{_SUMMARY}.min_confidence") < check_confidence("max_confidence", max_confidence))
    for name, wanted in (("flagged", flagged), ("deferred", deferred)):
        if wanted is not None:
            if not isinstance(wanted, bool):
                raise TypeError(f"{name} must be True or False, not {wanted!r}")
            key = Key(f"{_SUMMARY}.{name}")
            queries.append(key > 0 if wanted else key == 0)
    after = None if since is None else timestamp("since", since)
    before = None if until is None else timestamp("until", until)
    if after is not None:
        queries.append(Key("start.time") >= after)
    if before is not None:
        queries.append(Key("start.time") < before)
    if after is not None and before is not None and after >= before:
        raise ValueError(f"nothing can have started since {since!r} and before {until!r}; exchange them")
    queries += OpinionSearch.read(certificate, disagrees, mean_radius, radius_spread).of_runs()
    conditions = [Condition(tuple(queries))]
    for name, text in (("model", model), ("model_version", model_version), ("plan", plan)):
        if text is not None and not isinstance(text, str):
            raise TypeError(f"{name} is searched by a str, not by {text!r}")
    if plan is not None:
        conditions.append(equals("start.plan_name", plan))
    network = {"model": model, "model_version": model_version}
    conditions += _has_network(catalog, {key: text for key, text in network.items() if text is not None})
    conditions += [equals(f"start.{key}", value) for key, value in (metadata or {}).items()]
    if flag is not None:
        conditions.append(_has_flag(catalog, check_flag(flag)))
    return search(catalog, conditions)


def has_label(label: int | str) -> Any:
    """Give the query for runs in which at least one frame got a label.

    It asks for the count, not for the list of labels: what a list contains can't be asked. SQLite looks
    for 2 in its text and finds 12; PostgreSQL answers 500.
    """
    from tiled.queries import Key

    return Key(f"{_SUMMARY}.{COUNTS}.{label}") > 0


def has_possible(number: int) -> Any:
    """Give the query for runs in which a disk number is possible for at least one frame."""
    from tiled.queries import Key

    return Key(f"{_SUMMARY}.{POSSIBLE}.{number}") > 0


def _has_network(catalog: CatalogOfBlueskyRuns, wanted: Mapping[str, str]) -> list[Condition]:
    """Give the conditions that frames have a network of this name and version.

    A summary names one; those few of runs with several say which each detector has.
    """
    from tiled.queries import KeyPresent

    if not wanted:
        return []
    several = catalog.search(KeyPresent(f"{_SUMMARY}.{SEVERAL_NETWORKS}"))
    if not len(several):
        return [equals(f"{_SUMMARY}.{key}", text) for key, text in wanted.items()]

    def check(run: BlueskyRun) -> bool:
        summary = StoredRun(run).summary
        return any(
            all(network.get(key) == text for key, text in wanted.items())
            for network in (summary, *summary.get(NETWORKS, {}).values())
        )

    return [Condition((KeyPresent(_SUMMARY),), check)]


def _has_flag(catalog: CatalogOfBlueskyRuns, flag: Flag) -> Condition:
    """Give the condition that frames have a flag.

    Summaries count flags, but for those that older versions recovered from a journal: there the rows tell.
    """
    from tiled.queries import Key, KeyPresent

    counts = f"{_SUMMARY}.{FLAG_COUNTS}"
    uncounted = (
        catalog.search(Key("stop.reason") == RECOVERED)
        .search(KeyPresent(_SUMMARY))
        .search(KeyPresent(counts, exists=False))
    )
    flagged = {run.start["uid"] for run in uncounted.values() if _rows_have(run, flag)}
    if not flagged:
        return Condition((Key(f"{counts}.{flag}") > 0,))

    def check(run: BlueskyRun) -> bool:
        summary = StoredRun(run).summary
        return run.start["uid"] in flagged or summary.get(FLAG_COUNTS, {}).get(flag, 0) > 0

    return Condition((KeyPresent(_SUMMARY),), check)


def _rows_have(run: BlueskyRun, flag: Flag) -> bool:
    table = StoredRun(run).result_columns(["flags"])
    return table is not None and any(flag in text.split(",") for text in table["flags"])


def check_flag(value: Any) -> Flag:
    """Give a flag by its name.

    Raises
    ------
    ValueError
        If there is none of this name.
    """
    try:
        return Flag(value)
    except ValueError as error:
        raise ValueError(f"there is no flag {value!r}: there are {', '.join(Flag)}") from error


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
