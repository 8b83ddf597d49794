"""What is left to be done of a run: its frames, the results that stay, and those that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from speckle_plugin.documents.descriptors import Detector, FrameSettings, describe_detector
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.schema import BEAM_CENTER, IMAGE_KEYS, SUMMARY, Flag, Status, newest_stream, split_flags
from speckle_plugin.store.read.results import (
    StoredImages,
    StoredResult,
    StoredResults,
    read_results,
    stored_images,
)

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["Frame", "Work", "find_work", "is_unreadable"]

Frame = tuple[str, int]
"""Image key and frame index."""


@dataclass(frozen=True, eq=False)
class Work:
    """What is to be done of a finished run.

    Parameters
    ----------
    run : BlueskyRun
    stop : mapping
        Its stop document.
    images : mapping of image key to StoredImages
    earlier : StoredResults
        Of its newest result stream.
    frames : tuple of Frame
        All frames, in the order of their rows.
    kept : mapping of Frame to StoredResult
        Results that stay.
    """

    run: BlueskyRun
    stop: Mapping[str, Any]
    images: Mapping[str, StoredImages]
    earlier: StoredResults
    frames: tuple[Frame, ...]
    kept: Mapping[Frame, StoredResult] = field(default_factory=dict)

    @property
    def summary(self) -> Mapping[str, Any]:
        """The summary as it is."""
        return self.stop.get(SUMMARY) or {}

    @property
    def image_keys(self) -> tuple[str, ...] | None:
        """The data keys that the session classified; None for all, or where that is not known."""
        return tuple(self.earlier.model.get(IMAGE_KEYS) or ()) or None

    @property
    def beam_center(self) -> tuple[float, float] | None:
        """What the session was told, for detectors that do not state it."""
        row_and_column = self.earlier.model.get(BEAM_CENTER)
        return (row_and_column[0], row_and_column[1]) if row_and_column else None

    @property
    def wanted(self) -> list[Frame]:
        """Frames that are to be classified."""
        return [frame for frame in self.frames if frame not in self.kept]

    @property
    def is_booked(self) -> bool:
        """Whether the summary counts every frame, and none as deferred."""
        return not self.summary.get("deferred") and self.summary.get("frames") == len(self.frames)

    def describe_detectors(self, settings: FrameSettings) -> dict[str, Detector]:
        """Give the detector behind each image key."""
        return {
            key: describe_detector(stored.data_key, stored.descriptor, settings, stored.stream)
            for key, stored in self.images.items()
        }

    def circumstances(self, frame: Frame) -> tuple[int, float]:
        """Give the sequence number of a frame's event, and its time; 0 where that is not known."""
        key, index = frame
        if index < len(self.images[key]):
            return int(self.images[key].seq_num[index]), float(self.images[key].time[index])
        return self.earlier.rows[frame].data["primary_seq_num"], 0.0


def find_work(run: BlueskyRun, *, everything: bool = False) -> Work:
    """Find out what is to be done of a run.

    Parameters
    ----------
    run : BlueskyRun
    everything : bool
        Keep none of its results.

    Raises
    ------
    CompletionError
        If it is not finished, or holds no frames.
    """
    run.refresh()
    uid, stop = run.start["uid"], run.metadata.get("stop")
    if stop is None:
        raise CompletionError(
            f"the run {uid} is not finished: wait for its end; if its process was killed, first make it "
            "whole from its journal (speckle replay)"
        )
    earlier = read_results(run, newest_stream(stop))
    chosen = earlier.model.get(IMAGE_KEYS)
    images = {
        stored.image_key: stored for stored in stored_images(run) if not chosen or stored.data_key in chosen
    }
    counted = [(key, index) for key, stored in images.items() for index in range(len(stored))]
    # Rows may name frames that the stored arrays lack, such as those that no file was written for.
    frames = tuple(dict.fromkeys([*counted, *(frame for frame in earlier.rows if frame[0] in images)]))
    if not frames:
        raise CompletionError(f"the run {uid} holds no frames: there is nothing to classify in it")
    kept = {} if everything else {frame: earlier.rows[frame] for frame in frames if _is_final(frame, earlier)}
    return Work(run, stop, images, earlier, frames, kept)


def is_unreadable(row: StoredResult) -> bool:
    """Tell whether a frame was flagged since it could not be read."""
    return Flag.UNREADABLE in split_flags(row.data["flags"])


def _is_final(frame: Frame, earlier: StoredResults) -> bool:
    """Tell whether a frame has a result that stays: flagged for good, or labelled by a known model."""
    row = earlier.rows.get(frame)
    if row is None:
        return False
    if row.data["status"] == Status.CLASSIFIED:
        return bool(earlier.model.get("weights_sha256"))
    return row.data["status"] == Status.FLAGGED and not is_unreadable(row)
