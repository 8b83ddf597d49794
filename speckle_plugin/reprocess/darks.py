"""Which stored dark frame is subtracted from a stored frame: as live, the newest one before it."""

from __future__ import annotations

from collections.abc import Sequence

from speckle_plugin.documents.roles import choose_dark
from speckle_plugin.frames.darks import mean_dark
from speckle_plugin.live.labels import Dark
from speckle_plugin.reprocess.pixels import read_batch
from speckle_plugin.reprocess.task import Task
from speckle_plugin.store.read.images import StoredImages

__all__ = ["StoredDarks"]


class StoredDarks:
    """The dark frames of one detector of a stored run.

    Parameters
    ----------
    task : Task
    images : StoredImages
        The frames with light.
    """

    def __init__(self, task: Task, images: StoredImages) -> None:
        detector = images.describe(task.session)
        every = {(darks.describe().device, darks.data_key): darks for darks in task.darks.values()}
        chosen = choose_dark(detector.device, detector.data_key, every)
        self._shape, self._subtracted = images.shape, task.session.subtract_darks
        self._light = images
        self._darks = None if chosen is None else every[chosen]
        self._means: dict[int, Dark] = {}

    def split(self, indices: Sequence[int]) -> list[tuple[Sequence[int], Dark | None]]:
        """Divide the indices of frames, ascending, into those with one dark frame, and give it."""
        if not self._subtracted:
            return [(indices, None)]
        parts: list[tuple[list[int], int]] = []
        for index in indices:
            event = self._event_before(index)
            if parts and parts[-1][1] == event:
                parts[-1][0].append(index)
            else:
                parts.append(([index], event))
        return [(part, self._mean(event)) for part, event in parts]

    def _event_before(self, index: int) -> int:
        """Give the newest event of dark frames before a frame; the first one if all are after it."""
        if self._darks is None:
            return -1
        _, when = self._light.event_of(index)
        _, times = self._darks.events.times
        return max(sum(float(time) <= when for time in times) - 1, 0)

    def _mean(self, event: int) -> Dark:
        if event not in self._means:
            read = []
            if self._darks is not None:
                count = max(1, self._darks.frames_per_event)
                wanted = range(event * count, min((event + 1) * count, len(self._darks)))
                read = read_batch(self._darks, list(wanted))
            self._means[event] = Dark(*mean_dark(read, self._shape))
        return self._means[event]
