"""What is left to be done of a stored run: its frames, the results that stay, and those that are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from speckle_plugin.documents.descriptors import FrameSettings
from speckle_plugin.documents.roles import Role
from speckle_plugin.network.classifier import FrameResult
from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.schema import Flag, Status, split_flags
from speckle_plugin.store import StoredRun
from speckle_plugin.store.read.images import StoredImages
from speckle_plugin.store.read.results import StoredResult

__all__ = ["Frame", "Task", "find_task"]

Frame = tuple[str, int]
"""Image key and frame index."""


@dataclass(frozen=True, eq=False)
class Task:
    """What is to be done of a finished run.

    Parameters
    ----------
    stored : StoredRun
    session : FrameSettings
        What the session was told of the frames, but for the masks.
    images : mapping of image key to StoredImages
        Those that the session classified.
    frames : tuple of Frame
        All frames, in the order of their rows.
    kept : mapping of Frame to StoredResult
        Results that stay.
    correcting : mapping of Role to list of StoredImages
        Dark frames and flat fields, where the session corrected frames by them.
    """

    stored: StoredRun
    session: FrameSettings
    images: Mapping[str, StoredImages]
    frames: tuple[Frame, ...]
    kept: Mapping[Frame, StoredResult] = field(default_factory=dict)
    correcting: Mapping[Role, list[StoredImages]] = field(default_factory=dict)

    @property
    def wanted(self) -> list[Frame]:
        """Frames that are to be classified."""
        return [frame for frame in self.frames if frame not in self.kept]

    @property
    def is_booked(self) -> bool:
        """Whether the summary counts every frame, and none as deferred."""
        summary = self.stored.summary
        return not summary.get("deferred") and summary.get("frames") == len(self.frames)

    def event_of(self, frame: Frame) -> tuple[int, float]:
        """Give the sequence number of a frame's event, and its time; 0 where that is not known."""
        key, index = frame
        if index < len(self.images[key]):
            return self.images[key].event_of(index)
        return self.stored.results.rows[frame].data["primary_seq_num"], 0.0

    def better(self, frame: Frame, result: FrameResult) -> StoredResult | None:
        """Give the earlier result of a frame if it is better than a new one: a label instead of a flag."""
        row = self.stored.results.rows.get(frame)
        is_better = row is not None and row.data["status"] == Status.CLASSIFIED
        return row if is_better and result.status is not Status.CLASSIFIED else None

    def is_news(self, frame: Frame, result: FrameResult) -> bool:
        """Tell whether a new result of a frame says more than the earlier one."""
        row = self.stored.results.rows.get(frame)
        if self.better(frame, result):
            return False
        return row is None or not (_is_unreadable(row) and Flag.UNREADABLE in result.flags)


def find_task(
    stored: StoredRun, *, everything: bool = False, unlabelled: FrameSettings | None = None
) -> Task:
    """Find out what is to be done of a run.

    Parameters
    ----------
    stored : StoredRun
    everything : bool
        Classify every frame, whatever results there are.
    unlabelled : FrameSettings, optional
        What is said of the frames of a run that has no results yet, which would tell.

    Raises
    ------
    CompletionError
        If it is not finished, or holds no frames.
    """
    if stored.stop is None:
        raise CompletionError(
            f"the run {stored.uid} is not finished: wait for its end; if its process was killed, first make "
            "it whole from its journal (speckle replay)"
        )
    earlier = stored.results
    session = FrameSettings.from_configuration(earlier.model)
    if not earlier.model and unlabelled is not None:
        session = replace(unlabelled, masks=None)
    images = {key: images for key, images in stored.images.items() if _role(images, session) is Role.LIGHT}
    correcting = {
        role: [images for images in stored.images.values() if _role(images, session) is role]
        for role in session.corrections
    }
    counted = [(key, index) for key, found in images.items() for index in range(len(found))]
    # Rows may name frames that the stored arrays lack, such as those that no file was written for.
    frames = tuple(dict.fromkeys([*counted, *(frame for frame in earlier.rows if frame[0] in images)]))
    if not frames:
        raise CompletionError(f"the run {stored.uid} holds no frames: there is nothing to classify in it")
    by_known_model = bool(earlier.model.get("weights_sha256"))
    kept = {
        frame: row
        for frame in frames
        if not everything and (row := earlier.rows.get(frame)) and _is_final(row, by_known_model)
    }
    return Task(stored, session, images, frames, kept, correcting)


def _role(images: StoredImages, session: FrameSettings) -> Role:
    return session.role_of(images.stream, images.data_key)


def _is_unreadable(row: StoredResult) -> bool:
    return Flag.UNREADABLE in split_flags(row.data["flags"])


def _is_final(row: StoredResult, by_known_model: bool) -> bool:
    """Tell whether a result stays: flagged for good, or labelled by a known model."""
    if row.data["status"] == Status.CLASSIFIED:
        return by_known_model
    return row.data["status"] == Status.FLAGGED and not _is_unreadable(row)
