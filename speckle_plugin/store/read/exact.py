"""Exact searches of metadata on any database: the server narrows, what it cannot tell is settled here.

Tiled puts a query into the terms of its database, and these differ. SQLite takes `true` for 1 and a
stored list for its text, and refuses None, lists and quotes in keys; PostgreSQL refuses a NUL
character. So each condition is a query that loses no run, and a check where it may find too many.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["Check", "Condition", "equals", "look_up", "search"]

Check = Callable[["BlueskyRun"], bool]
"""Whether a run is what was asked for."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_ -]+(\.[A-Za-z0-9_ -]+)*")
"""Keys that both databases read alike."""

_EXACT_INTEGERS = 2**53
"""Below this, integers and floats are compared alike everywhere."""

_MOST_NAMED_RUNS = 1000
"""Runs that a query can name, since it travels in an address of at most 64 KiB."""

_MISSING = object()


class Condition(NamedTuple):
    """What a run must be: queries for the server, and a check where they find too many."""

    queries: tuple[Any, ...] = ()
    check: Check | None = None


def equals(key: str, value: Any) -> Condition:
    """Give the condition that the metadata have a value under a key.

    Parameters
    ----------
    key : str
        Such as `start.plan_name`; a dot leads into a nested mapping.
    value : None, bool, int, float, str, sequence, mapping or array
        As it would be stored. A number equals a number, but neither True nor a text: 1 is found by 1.0,
        not by True and not by "1". A list or mapping must be equal as a whole.

    Raises
    ------
    TypeError
        If JSON has no such value.
    ValueError
        If the key has an empty part.
    """
    from tiled.queries import Key, KeyPresent

    if not all(key.split(".")):
        raise ValueError(f"the key {key!r} has an empty part: expected names joined by dots")
    value = _as_stored(key, value)
    queries: tuple[Any, ...] = ()
    if _PLAIN_KEY.fullmatch(key):
        queries = (Key(key) == value if _is_comparable(value) else KeyPresent(key),)
        if _is_exact(value):
            return Condition(queries)
    return Condition(queries, lambda run: _same(look_up(run.metadata, key), value))


def look_up(metadata: Mapping[str, Any], key: str) -> Any:
    """Give what stands under a key, whose dots lead into nested mappings; a value of its own if nothing."""
    found: Any = metadata
    for part in key.split("."):
        if not isinstance(found, Mapping) or part not in found:
            return _MISSING
        found = found[part]
    return found


def search(catalog: CatalogOfBlueskyRuns, conditions: Iterable[Condition]) -> CatalogOfBlueskyRuns:
    """Find the runs for which all conditions hold.

    Where there are checks, the metadata of the runs that the queries find are read, and the result names
    the runs to take or to leave out, whichever are fewer.

    Raises
    ------
    ValueError
        If too many runs would have to be named.
    """
    from tiled.queries import In, NotIn

    checks = []
    for queries, check in conditions:
        for query in queries:
            catalog = catalog.search(query)
        if check is not None:
            checks.append(check)
    if not checks:
        return catalog
    right: list[str] = []
    wrong: list[str] = []
    for run in catalog.values():
        (right if all(check(run) for check in checks) else wrong).append(run.start["uid"])
    if not wrong:
        return catalog
    if min(len(right), len(wrong)) > _MOST_NAMED_RUNS:
        raise ValueError(
            f"{len(right)} of {len(right) + len(wrong)} runs match, and the server can't tell them apart by "
            "this query: give more conditions, such as since and until"
        )
    return catalog.search(
        In("start.uid", right) if len(right) <= len(wrong) else NotIn("start.uid", wrong),
    )


def _as_stored(key: str, value: Any) -> Any:
    def convert(other: Any) -> Any:
        if hasattr(other, "tolist"):  # numbers and arrays of numpy
            return other.tolist()
        raise TypeError(f"{key} can't be {other!r}: metadata are numbers, texts, lists and mappings of these")

    return json.loads(json.dumps(value, default=convert))


def _is_comparable(value: Any) -> bool:
    """Whether each database takes the value, and finds at least the runs that have it."""
    if isinstance(value, int | float):
        return math.isfinite(value) and abs(value) < _EXACT_INTEGERS
    return isinstance(value, str) and value.isprintable()


def _is_exact(value: Any) -> bool:
    """Whether each database finds, of these, the runs that have the value, and no others."""
    if isinstance(value, int | float):
        return _is_comparable(value) and value not in (0, 1)
    return _is_comparable(value) and not value.startswith(("[", "{"))


def _same(stored: Any, asked: Any) -> bool:
    if isinstance(asked, Mapping):
        return (
            isinstance(stored, Mapping)
            and set(stored) == set(asked)
            and all(_same(stored[key], asked[key]) for key in asked)
        )
    if isinstance(asked, list):
        return (
            isinstance(stored, Sequence)
            and not isinstance(stored, str)
            and len(stored) == len(asked)
            and all(_same(one, other) for one, other in zip(stored, asked, strict=True))
        )
    return isinstance(stored, bool) == isinstance(asked, bool) and bool(stored == asked)
