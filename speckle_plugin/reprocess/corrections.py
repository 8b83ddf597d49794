"""By which stored dark frames and flat fields a stored frame is corrected: as live, the newest before it."""

from __future__ import annotations

from collections.abc import Sequence

from speckle_plugin.documents.roles import Role, choose_correction
from speckle_plugin.frames.correction_frames import Corrected, Frames, correct_by
from speckle_plugin.reprocess.pixels import read_batch
from speckle_plugin.reprocess.task import Task
from speckle_plugin.store.read.images import StoredImages

__all__ = ["StoredCorrections"]

NONE = -1
"""Instead of an event, where there are no dark frames or flat fields."""


class StoredCorrections:
    """What corrects the frames of one detector of a stored run.

    Parameters
    ----------
    task : Task
    images : StoredImages
        The frames with light.
    """

    def __init__(self, task: Task, images: StoredImages) -> None:
        self._light = images
        detector = images.describe(task.session)
        self._correcting: dict[Role, StoredImages | None] = {}
        for role, found in task.correcting.items():
            every = {(one.describe().device, one.data_key): one for one in found}
            chosen = choose_correction(role, detector.device, detector.data_key, every)
            self._correcting[role] = None if chosen is None else every[chosen]
        self._made: dict[tuple[int, ...], Corrected] = {}

    def split(self, indices: Sequence[int]) -> list[tuple[Sequence[int], Corrected]]:
        """Divide the indices of frames, ascending, into those that are corrected alike, and tell how."""
        parts: list[tuple[list[int], tuple[int, ...]]] = []
        for index in indices:
            events = tuple(self._event_before(index, images) for images in self._correcting.values())
            if parts and parts[-1][1] == events:
                parts[-1][0].append(index)
            else:
                parts.append(([index], events))
        return [(part, self._by(events)) for part, events in parts]

    def _event_before(self, index: int, correcting: StoredImages | None) -> int:
        """Give the newest event of dark frames or flats before a frame; the first one if all are after it."""
        if correcting is None:
            return NONE
        _, when = self._light.event_of(index)
        _, times = correcting.events.times
        return max(sum(float(time) <= when for time in times) - 1, 0)

    def _by(self, events: tuple[int, ...]) -> Corrected:
        """Give the correction by an event for each of the roles."""
        if events not in self._made:
            read: dict[Role, Frames] = {}
            for (role, images), event in zip(self._correcting.items(), events, strict=True):
                read[role] = [] if images is None else _frames_of(images, event)
            self._made[events] = correct_by(read.get(Role.DARK), read.get(Role.FLAT), self._light.shape)
        return self._made[events]


def _frames_of(images: StoredImages, event: int) -> Frames:
    count = max(1, images.frames_per_event)
    return read_batch(images, list(range(event * count, min((event + 1) * count, len(images)))))
