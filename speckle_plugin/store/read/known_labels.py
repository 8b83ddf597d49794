"""Which labels there are to search for: a number that no network gives is a slip, not an empty answer."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from speckle_plugin.network import shipped_classes
from speckle_plugin.schema import CLASS_NAMES, CLASSES, CLASSIFIER, LABELS, SUMMARY
from speckle_plugin.store.read.stored_run import StoredRun

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["check_label", "check_number"]


def check_label(value: Any, runs: CatalogOfBlueskyRuns | Iterable[BlueskyRun]) -> int | str:
    """Give a label as a plain int, or the name of a class of an imported network.

    The shipped networks are asked first; only for a number that is none of theirs, the server is asked
    which labels and classes the summaries have, and runs without a summary for their network's classes.

    Parameters
    ----------
    value : int or str
        The disk number, or the name of a class, that is searched for.
    runs : CatalogOfBlueskyRuns or iterable of BlueskyRun
        Where it is searched for.

    Raises
    ------
    TypeError
        If it is neither.
    ValueError
        If no network gives it.
    """
    if isinstance(value, str):
        names = {name for name in _stored_classes(runs) if isinstance(name, str)}
        if value not in names:
            raise ValueError(
                f"no network gives the label {value!r}: there are {', '.join(sorted(names)) or 'no names'}, "
                "and disk numbers"
            )
        return value
    return check_number("label", value, runs, or_else=", or the name of a class")


def check_number(
    name: str, value: Any, runs: CatalogOfBlueskyRuns | Iterable[BlueskyRun], or_else: str = ""
) -> int:
    """Give a disk number as a plain int; known are the same as to :func:`check_label`.

    Parameters
    ----------
    name : str
        The argument's name, for the message.
    value : int
    runs : CatalogOfBlueskyRuns or iterable of BlueskyRun
    or_else : str
        What else it may be, for the message.

    Raises
    ------
    TypeError
        If it is no int.
    ValueError
        If no network gives it.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name} must be a disk number, an int such as 7{or_else}, not {value!r}")
    number = int(value)
    if number in shipped_classes():
        return number
    known = {*shipped_classes(), *_stored_classes(runs)}
    if number not in known:
        listed = ", ".join(map(str, sorted(known, key=_in_order)))
        raise ValueError(
            f"no network gives the label {number}: there are {listed}. "
            "Frames without a label are found by their status or flag"
        )
    return number


def _in_order(label: int | str) -> tuple[bool, int, str]:
    return (True, 0, label) if isinstance(label, str) else (False, label, "")


def _stored_classes(runs: Any) -> set[int | str]:
    keys = tuple(f"stop.{SUMMARY}.{key}" for key in (LABELS, CLASSES, CLASS_NAMES))
    if not hasattr(runs, "search"):
        return {number for run in runs for number in _classes_of(run)}
    from tiled.queries import KeyPresent

    runs = runs.new_variation(queries=[])  # of an earlier search, the whole catalog tells
    distinct = runs.distinct(*keys)["metadata"]
    found = {number for key in keys for entry in distinct[key] for number in entry["value"] or ()}
    for run in runs.search(KeyPresent("stop.uid", exists=False)).values():
        found.update(_classes_of(run))
    return found


def _classes_of(run: BlueskyRun) -> set[int | str]:
    """Give the labels of a run's summary, and the classes of the networks that its streams name."""
    stored = StoredRun(run)
    found = set(stored.summary.get(LABELS, ()))
    for events in stored.streams.values():
        model = events.descriptor.get("configuration", {}).get(CLASSIFIER, {}).get("data", {})
        found.update(model.get(CLASS_NAMES) or model.get(CLASSES, ()))
    return found
