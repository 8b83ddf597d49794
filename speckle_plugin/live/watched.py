"""The newest frames shown to somebody, on the classifying thread: that must not cost it anything."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from numpy.typing import NDArray

from speckle_plugin.documents.frame_finder import FrameReference
from speckle_plugin.network.classifier import FrameResult

__all__ = ["Watched", "Watcher"]

logger = logging.getLogger(__name__)

Watcher = Callable[[str, FrameReference, NDArray[Any], FrameResult], object]
"""Is shown frames: the uid of their run, where the frame is from, its pixels and its result."""


class Watched:
    """Shows frames to a watcher, as long as it does not fail.

    Attributes
    ----------
    watcher : callable or None
    """

    def __init__(self) -> None:
        self.watcher: Watcher | None = None

    def show_newest(
        self,
        frames: Sequence[tuple[str, FrameReference]],
        pixels: Sequence[NDArray[Any] | OSError],
        results: Sequence[FrameResult],
    ) -> None:
        """Show the last of some frames that could be read.

        Parameters
        ----------
        frames : sequence of (str, FrameReference)
            With the uid of their run.
        pixels : sequence of array or OSError
        results : sequence of FrameResult
        """
        watcher = self.watcher
        if watcher is None:
            return
        everything = zip(*map(reversed, (frames, pixels, results)), strict=True)
        for (uid, reference), frame, result in everything:
            if isinstance(frame, OSError):
                continue
            try:
                watcher(uid, reference, frame, result)
            except Exception:
                self.watcher = None
                logger.exception("%r failed on a frame, and is shown no more; the scan goes on", watcher)
            return
