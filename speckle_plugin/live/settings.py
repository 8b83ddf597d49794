"""Limits of the live pipeline: the one place that says what it waits for, and for how long."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["PipelineSettings"]


@dataclass(frozen=True)
class PipelineSettings:
    """Limits of the pipeline.

    Parameters
    ----------
    batch : int
        Most frames classified at once; as many as are waiting are taken, never waited for.
    pending_bytes : int
        Most bytes of frames that may wait to be classified.
    when_full : {"wait", "defer"}
        At that bound the scan waits, or the frame is left to be classified later. A plan
        may choose by the metadata ``classification={"when_full": ...}``.
    wait_timeout : float
        Seconds that a scan waits for room before it defers all the same.
    drain_timeout : float
        Seconds, at the end of a run, for frames still waiting; the rest is deferred.
    hang_timeout : float
        Seconds that the classifier may take for one batch. After that nothing waits for it:
        frames are deferred at once, until it answers again.
    save_timeout : float
        Seconds, after that, for everything to be saved.
    """

    batch: int = 32
    pending_bytes: int = 2 << 30
    when_full: Literal["wait", "defer"] = "wait"
    wait_timeout: float = 30.0
    drain_timeout: float = 60.0
    hang_timeout: float = 60.0
    save_timeout: float = 180.0

    def __post_init__(self) -> None:
        if self.when_full not in ("wait", "defer"):
            raise ValueError(f"when_full must be 'wait' or 'defer', not {self.when_full!r}")
        if self.batch < 1 or self.pending_bytes < 1:
            raise ValueError("batch and pending_bytes must be positive")
