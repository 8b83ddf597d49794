"""The live figure of a session: it belongs to a live classifier, and its user opens and closes it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, Protocol

from speckle_plugin.display.live_figure import LiveFigure
from speckle_plugin.display.place import NoDisplayError, Place, Wanted, choose_place

__all__ = ["AttachedFigure", "Pipeline"]

logger = logging.getLogger(__name__)


class Pipeline(Protocol):
    """What shows its documents and frames, as a LiveClassifier does."""

    def subscribe(self, function: Callable[..., Any], /) -> int:
        """Add a subscriber."""

    def unsubscribe(self, token: int, /) -> None:
        """Remove a subscriber."""

    def watch(self, watcher: Callable[..., object] | None, /) -> None:
        """Show the newest frames to somebody."""

    def backlog(self) -> tuple[int, float]:
        """Give the number of frames that wait, and the seconds that the oldest has waited."""


class AttachedFigure:
    """A live figure, or none yet.

    Where the wanted place is not there, that is told: a session without a display measures all the same.

    Parameters
    ----------
    pipeline : Pipeline
    wanted : {"auto", "window", "inline", "none"}

    Attributes
    ----------
    figure : LiveFigure or None
    """

    def __init__(self, pipeline: Pipeline, wanted: Wanted = "none") -> None:
        self._pipeline = pipeline
        self._token = 0
        self.figure: LiveFigure | None = None
        try:
            place = choose_place(wanted)
        except NoDisplayError as error:
            logger.warning("%s", error)
        else:
            self._attach(place)

    def open(self, wanted: Wanted = "auto") -> None:
        """Open it, also after its window was closed; or close it, where "none" is wanted.

        Raises
        ------
        NoDisplayError
            If there is no place for it.
        """
        place = choose_place(wanted)
        if place is None and wanted == "auto":
            place = choose_place("window")  # somebody asks for it: it is an error where that can't be
        if self.figure is None or self.figure.place != place:
            self.close()
            self._attach(place)
        if self.figure is not None:
            self.figure.open()

    def close(self) -> None:
        """Close it, and show it nothing more."""
        figure, self.figure = self.figure, None
        if figure is not None:
            self._pipeline.watch(None)
            self._pipeline.unsubscribe(self._token)
            figure.close()

    def _attach(self, place: Place | None) -> None:
        if place is not None:
            self.figure = LiveFigure(place, self._pipeline.backlog)
            self._token = self._pipeline.subscribe(self.figure)
            self._pipeline.watch(self.figure.see)
