"""The second opinions of one run: its `structure` stream and the summary of it.

Frames are expected when an opinion is asked, and closed when it is known. Every frame that was asked has
one row, and the summary balances: frames = solved + not_explained + undecided + left.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any

from speckle_plugin.documents.derived_stream import DerivedStream
from speckle_plugin.documents.structure_counts import StructureCounts
from speckle_plugin.schema import (
    NEWEST_STREAM,
    STRUCTURE_SOLVER,
    STRUCTURE_STREAM,
    STRUCTURE_SUMMARY,
    structure_configuration_keys,
    structure_keys,
)
from speckle_plugin.solving.asked import AskedFrame
from speckle_plugin.solving.pool import Outcome
from speckle_plugin.solving.rows import opinion_row
from speckle_plugin.structure import SolveSettings

__all__ = ["FEWEST_ROWS", "StructureResults", "solver_configuration"]

FEWEST_ROWS = 3
"""Rows of the array of disks: TiledWriter puts one of 16 numbers or less into a table, where PostgreSQL takes
none of two dimensions."""


def solver_configuration(
    asked: str, max_confidence: float, settings: SolveSettings, frames: Mapping[str, Any]
) -> dict[str, Any]:
    """Give what stands in the configuration of a structure stream.

    Parameters
    ----------
    asked : str
        Of which frames an opinion was asked.
    max_confidence : float
        Where only unsure frames were asked, the bound.
    settings : SolveSettings
    frames : mapping
        What was said of the frames, by `FrameSettings.to_configuration`.
    """
    from importlib.metadata import version

    return {
        "asked": asked,
        "max_confidence": float(max_confidence),
        "version": version("speckle-plugin"),
        "settings": json.dumps(settings.to_dict()),
        **frames,
    }


class StructureResults:
    """Composes the documents of one run's second opinions. Not thread-safe.

    Parameters
    ----------
    start : mapping
        The run's start document.
    emit : callable
        Given (name, document) in the order in which they are to be delivered.
    settings : SolveSettings
    configuration : mapping
        By :func:`solver_configuration`.
    clock : callable
        Gives the time in seconds since the epoch.
    stream : str
        Name of the stream.
    """

    def __init__(
        self,
        start: Mapping[str, Any],
        emit: Callable[[str, Any], None],
        settings: SolveSettings,
        configuration: Mapping[str, Any],
        clock: Callable[[], float] = time.time,
        stream: str = STRUCTURE_STREAM,
    ) -> None:
        self._start, self._emit, self._clock, self._stream = start, emit, clock, stream
        self._most_disks = max(settings.most_disks, FEWEST_ROWS)
        self._configuration = configuration
        self._rows: DerivedStream | None = None
        self._open: dict[tuple[str, int], AskedFrame] = {}
        self._counts = StructureCounts()

    @property
    def outstanding(self) -> int:
        """Number of frames whose opinion is not known yet."""
        return len(self._open)

    def expect(self, frame: AskedFrame) -> None:
        """Count a frame for which an opinion is asked."""
        self._open[frame[:2]] = frame

    def close_frame(self, frame: AskedFrame, outcome: Outcome | str) -> None:
        """Emit what became of a frame; that it is told for the second time is dropped."""
        if self._open.pop(frame[:2], None) is None:
            return
        row = {
            "image_key": frame.image_key,
            "frame_index": frame.frame_index,
            "primary_seq_num": frame.seq_num,
            **opinion_row(outcome, self._most_disks),
        }
        self.take_over(row, frame.label, self._clock())

    def take_over(self, row: Mapping[str, Any], label: int, when: float) -> None:
        """Emit a row as it is, with the time when it was made."""
        if self._rows is None:
            self._rows = DerivedStream(
                self._start,
                self._emit,
                stream=self._stream,
                computer=STRUCTURE_SOLVER,
                data_keys=structure_keys(self._most_disks),
                configuration=self._configuration,
                configuration_keys=structure_configuration_keys(),
                hints=["disk_number", "certificate"],
                clock=self._clock,
            )
        self._rows.add(row, when)
        self._counts.add(row, label)

    def leave_outstanding(self, reason: str) -> None:
        """Leave every frame whose opinion is not known yet to be solved later."""
        for frame in list(self._open.values()):
            self.close_frame(frame, reason)

    def stop(self, doc: Mapping[str, Any]) -> dict[str, Any]:
        """Give the run's stop document with the stream's events counted and the summary added."""
        if self._open:
            raise RuntimeError(f"{len(self._open)} frames have no opinion yet")
        if not self._counts.frames:
            return dict(doc)
        num_events = {**doc.get("num_events", {}), self._stream: self._counts.frames}
        summary = {
            **self._counts.summary(),
            NEWEST_STREAM: self._stream,
            "asked": self._configuration["asked"],
        }
        return {**doc, "num_events": num_events, STRUCTURE_SUMMARY: summary}
