"""Where the time of classifying goes, stage by stage."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

__all__ = ["STAGES", "StageTimes"]

STAGES = ("wait", "read", "prepare", "classify", "write")
"""A frame waits for its turn, is read from its file, made an input of the network, and classified;
then documents are written. All but the first keep a thread busy."""


class StageTimes:
    """Seconds spent in each stage, summed up over frames. Not thread-safe."""

    def __init__(self) -> None:
        self._seconds: Counter[str] = Counter()

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time of a block for a stage."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[stage] += time.perf_counter() - started  # type: ignore[assignment]

    def add(self, seconds: Mapping[str, float], share: float = 1.0) -> None:
        """Add seconds by stage, or a share of them."""
        for stage, duration in seconds.items():
            self._seconds[stage] += duration * share  # type: ignore[assignment]

    @property
    def seconds(self) -> dict[str, float]:
        """Give the sums by stage, in the order of :data:`STAGES`."""
        return {stage: float(self._seconds[stage]) for stage in STAGES}
