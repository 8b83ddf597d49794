"""Plans that say how their frames are to be classified.

They are bluesky's own plans with one thing more: what happens when frames come faster
than they are classified is chosen per plan, and written into the run. Every plan of
bluesky works with the live classifier as well, with its default choice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import bluesky.plans as bp
from bluesky.protocols import Readable
from bluesky.utils import MsgGenerator

__all__ = ["classify_count", "classify_grid_scan", "classify_scan"]

WhenFull = Literal["wait", "defer"]


def classify_count(
    detectors: Sequence[Readable],
    num: int | None = 1,
    delay: float | Iterable[float] = 0.0,
    *,
    when_full: WhenFull = "wait",
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames at one place, as :func:`bluesky.plans.count` does.

    Parameters
    ----------
    detectors : sequence of Readable
        Every image they read is classified.
    num : int or None
        Number of exposures; None for until stopped.
    delay : float or iterable of float
        Seconds between exposures.
    when_full : {"wait", "defer"}
        When too many frames wait to be classified: slow the scan down, or classify what
        is over after the scan.
    md : dict, optional
        Metadata of the run.
    **kwargs
        As for :func:`bluesky.plans.count`.
    """
    return (
        yield from bp.count(detectors, num, delay, md=_metadata("classify_count", when_full, md), **kwargs)
    )


def classify_scan(
    detectors: Sequence[Readable],
    *args: Any,
    num: int | None = None,
    when_full: WhenFull = "wait",
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames along a line, as :func:`bluesky.plans.scan` does.

    Parameters
    ----------
    detectors : sequence of Readable
    *args
        ``motor1, start1, stop1, ..., motorN, startN, stopN``, then the number of points
        unless `num` gives it.
    num : int, optional
        Number of points.
    when_full, md
        As for :func:`classify_count`.
    **kwargs
        As for :func:`bluesky.plans.scan`.
    """
    metadata = _metadata("classify_scan", when_full, md)
    return (yield from bp.scan(detectors, *args, num=num, md=metadata, **kwargs))


def classify_grid_scan(
    detectors: Sequence[Readable],
    *args: Any,
    when_full: WhenFull = "wait",
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames on a grid, as :func:`bluesky.plans.grid_scan` does.

    Parameters
    ----------
    detectors : sequence of Readable
    *args
        ``motor1, start1, stop1, num1, ..., motorN, startN, stopN, numN``, the slowest first.
    when_full, md
        As for :func:`classify_count`.
    **kwargs
        As for :func:`bluesky.plans.grid_scan`, among them `snake_axes`.
    """
    metadata = _metadata("classify_grid_scan", when_full, md)
    return (yield from bp.grid_scan(detectors, *args, md=metadata, **kwargs))


def _metadata(plan_name: str, when_full: str, md: Mapping[str, Any] | None) -> dict[str, Any]:
    if when_full not in ("wait", "defer"):
        raise ValueError(
            "when_full must be 'wait' (the scan slows down) or 'defer' (frames are classified "
            f"after the scan), not {when_full!r}"
        )
    return {"plan_name": plan_name, "classification": {"when_full": when_full}, **(md or {})}
