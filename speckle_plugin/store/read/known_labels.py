"""Which labels there are to search for: a number that no network gives is a slip, not an empty answer."""

from __future__ import annotations

import numbers
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from speckle_plugin.network import shipped_classes
from speckle_plugin.schema import CLASSES, CLASSIFIER, LABELS, SUMMARY
from speckle_plugin.store.read.stored_run import StoredRun

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun, CatalogOfBlueskyRuns

__all__ = ["check_label"]


def check_label(value: Any, runs: CatalogOfBlueskyRuns | Iterable[BlueskyRun]) -> int:
    """Give a label as a plain int.

    The shipped networks are asked first; only for a number that is none of theirs, the server is asked
    which labels and classes the summaries have, and runs without a summary for their network's classes.

    Parameters
    ----------
    value : int
        The disk number that is searched for.
    runs : CatalogOfBlueskyRuns or iterable of BlueskyRun
        Where it is searched for.

    Raises
    ------
    TypeError
        If it is no disk number.
    ValueError
        If no network gives it.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"label must be a disk number, an int such as 7, not {value!r}")
    number = int(value)
    if number in shipped_classes():
        return number
    known = {*shipped_classes(), *_stored_classes(runs)}
    if number not in known:
        raise ValueError(
            f"no network gives the label {number}: there are {', '.join(map(str, sorted(known)))}. "
            "Frames without a label are found by their status or flag"
        )
    return number


def _stored_classes(runs: Any) -> set[int]:
    keys = (f"stop.{SUMMARY}.{LABELS}", f"stop.{SUMMARY}.{CLASSES}")
    if not hasattr(runs, "search"):
        return {number for run in runs for number in _classes_of(run)}
    from tiled.queries import KeyPresent

    runs = runs.new_variation(queries=[])  # of an earlier search, the whole catalog tells
    distinct = runs.distinct(*keys)["metadata"]
    found = {number for key in keys for entry in distinct[key] for number in entry["value"] or ()}
    for run in runs.search(KeyPresent("stop.uid", exists=False)).values():
        found.update(_classes_of(run))
    return found


def _classes_of(run: BlueskyRun) -> set[int]:
    """Give the labels of a run's summary, and the classes of the networks that its streams name."""
    stored = StoredRun(run)
    found = set(stored.summary.get(LABELS, ()))
    for events in stored.streams.values():
        configuration = events.descriptor.get("configuration", {})
        found.update(configuration.get(CLASSIFIER, {}).get("data", {}).get(CLASSES, ()))
    return found
