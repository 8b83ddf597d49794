"""Plans that say how their frames are to be classified.

They are bluesky's own plans with one thing more: what happens when frames come faster
than they are classified is chosen per plan, and written into the run. Every plan of
bluesky works with the live classifier as well, with its default choice.

Annotations are evaluated here, not postponed: the queue server makes forms of them.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, cast

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import bluesky.preprocessors as bpp
from bluesky.protocols import Flyable, Movable, Readable, Stoppable
from bluesky.utils import MsgGenerator, short_uid

from speckle_plugin.schema import Asked, check_asked

__all__ = ["classify_count", "classify_fly", "classify_grid_scan", "classify_scan"]

WhenFull = Literal["wait", "defer"]


def classify_count(
    detectors: Sequence[Readable],
    num: int | None = 1,
    delay: float | Iterable[float] = 0.0,
    *,
    when_full: WhenFull = "wait",
    second_opinion: Asked | None = None,
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames at one place, as :func:`bluesky.plans.count` does.

    Parameters
    ----------
    detectors : sequence of Readable
        Every image they read is classified.
    num : int or None
        Number of exposures, 1 or more; None for until stopped.
    delay : float or iterable of float
        Seconds between exposures.
    when_full : {"wait", "defer"}
        When too many frames wait to be classified: slow the scan down, or leave further frames without a
        label, to be classified after the scan.
    second_opinion : {"none", "unsure", "all"}, optional
        Of which frames the disks are computed beside the network; by default what the session says.
    md : dict, optional
        Metadata of the run.
    **kwargs
        As for :func:`bluesky.plans.count`.

    Raises
    ------
    ValueError
        If `num` is less than 1; bluesky would make a run without frames of it.
    """
    if num is not None and num < 1:
        raise ValueError(f"num is {num}: give the number of exposures, 1 or more, or None for until stopped")
    return (
        yield from bp.count(
            detectors, num, delay, md=_metadata("classify_count", when_full, second_opinion, md), **kwargs
        )
    )


def classify_scan(
    detectors: Sequence[Readable],
    *args: Movable | Any,
    num: int | None = None,
    when_full: WhenFull = "wait",
    second_opinion: Asked | None = None,
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames along a line, as :func:`bluesky.plans.scan` does.

    Parameters
    ----------
    detectors : sequence of Readable
        Every image they read is classified.
    *args
        ``motor1, start1, stop1, ..., motorN, startN, stopN``, then the number of points
        unless `num` gives it.
    num : int, optional
        Number of points.
    when_full, second_opinion, md
        As for :func:`classify_count`.
    **kwargs
        As for :func:`bluesky.plans.scan`.
    """
    metadata = _metadata("classify_scan", when_full, second_opinion, md)
    return (yield from bp.scan(detectors, *args, num=num, md=metadata, **kwargs))


def classify_grid_scan(
    detectors: Sequence[Readable],
    *args: Movable | Any,
    when_full: WhenFull = "wait",
    second_opinion: Asked | None = None,
    md: Mapping[str, Any] | None = None,
    **kwargs: Any,
) -> MsgGenerator[str]:
    """Take and classify frames on a grid, as :func:`bluesky.plans.grid_scan` does.

    Parameters
    ----------
    detectors : sequence of Readable
        Every image they read is classified.
    *args
        ``motor1, start1, stop1, num1, ..., motorN, startN, stopN, numN``, the slowest first.
    when_full, second_opinion, md
        As for :func:`classify_count`.
    **kwargs
        As for :func:`bluesky.plans.grid_scan`, among them `snake_axes`.
    """
    metadata = _metadata("classify_grid_scan", when_full, second_opinion, md)
    return (yield from bp.grid_scan(detectors, *args, md=metadata, **kwargs))


def classify_fly(
    detector: Flyable,
    num: int,
    *path: Movable | Any,
    flush_period: float = 0.25,
    when_full: WhenFull = "wait",
    second_opinion: Asked | None = None,
    md: Mapping[str, Any] | None = None,
) -> MsgGenerator[str]:
    """Take frames without a stop between them, and classify them while they come.

    In a pause the detector waits, and the flight goes on where it was; of one that is aborted,
    or fails, the frames so far are kept and classified.

    Parameters
    ----------
    detector : Flyable
        Its documents can be collected during the flight. Either its `prepare` takes a mapping of `num`, and
        of `motor`, `start`, `stop` where a motor moves; or it is a `StandardDetector` of ophyd-async.
    num : int
        Number of frames.
    *path
        ``motor, start, stop`` to move a motor meanwhile. A detector of ophyd-async moves none.
    flush_period : float
        Seconds between collections, hence the most that a frame waits before it is classified.
    when_full, second_opinion, md
        As for :func:`classify_count`. While the plan waits, the flight goes on, its frames being in
        their file.

    Raises
    ------
    ValueError
        If the path is not complete, or the detector moves no motor.
    """
    if len(path) not in (0, 3):
        raise ValueError(f"expected motor, start, stop, or none of them, got {len(path)} arguments: {path!r}")
    course: dict[str, Any] = {"num": num}
    if path:
        motor, start, stop = cast("tuple[Any, Any, Any]", path)
        course |= {"motor": motor, "start": float(start), "stop": float(stop)}
    preparation = _preparation(detector, course)
    metadata: dict[str, Any] = {
        "detectors": [detector.name],
        "num_points": num,
        "plan_args": {key: getattr(value, "name", value) for key, value in course.items()},
        **_metadata("classify_fly", when_full, second_opinion, md),
    }

    def collect() -> MsgGenerator[None]:
        yield from bps.collect(detector, name="primary", return_payload=False)

    def fly() -> MsgGenerator[None]:
        yield from bps.kickoff(detector, wait=True)
        group, status, done = short_uid("complete"), None, None
        while status is None or not status.done:
            if done is not False:  # at first, and after a pause, in which bluesky forgets what it waits for
                status = yield from bps.complete(detector, group=group)
            yield from bps.checkpoint()
            done = yield from bps.wait(group, timeout=flush_period, error_on_timeout=False)
            yield from collect()

    def land() -> MsgGenerator[None]:
        if isinstance(detector, Stoppable):  # others end when they are unstaged
            yield from bps.stop(detector)
        yield from collect()

    @bpp.stage_decorator([detector])
    @bpp.run_decorator(md=metadata)
    def inner() -> MsgGenerator[None]:
        # First, since detectors of ophyd-async describe only what they are prepared for.
        yield from bps.prepare(detector, preparation, wait=True)
        yield from bps.declare_stream(detector, name="primary", collect=True)
        # After a pause nothing is to be repeated: what was collected would get its numbers again.
        yield from bpp.finalize_wrapper(bpp.rewindable_wrapper(fly(), False), land())

    return (yield from inner())


def _preparation(detector: Flyable, course: dict[str, Any]) -> Any:
    """Give what a detector's `prepare` takes."""
    # Not imported: whoever has such a detector has imported it.
    core = sys.modules.get("ophyd_async.core")
    if core is None or not isinstance(detector, core.StandardDetector):
        return course
    if "motor" in course:
        raise ValueError(
            f"{detector.name} is a detector of ophyd-async, which moves no motor: fly it without motor, "
            "start, stop, or write a plan that prepares and kicks off both"
        )
    return core.TriggerInfo(number_of_events=course["num"])


def _metadata(
    plan_name: str, when_full: str, second_opinion: Asked | None, md: Mapping[str, Any] | None
) -> dict[str, Any]:
    if when_full not in ("wait", "defer"):
        raise ValueError(
            "when_full must be 'wait' (the scan slows down) or 'defer' (frames are classified "
            f"after the scan), not {when_full!r}"
        )
    choices = {"when_full": when_full}
    if second_opinion is not None:
        check_asked(second_opinion)
        choices["second_opinion"] = second_opinion
    return {"plan_name": plan_name, "classification": choices, **(md or {})}
