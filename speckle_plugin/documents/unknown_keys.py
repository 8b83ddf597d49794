"""Data keys that settings name and no run has: typing errors, which would else cost labels in silence."""

from __future__ import annotations

import difflib
import logging
from typing import Any

from speckle_plugin.documents.descriptors import FrameSettings, holds_images

__all__ = ["UnknownKeys"]

logger = logging.getLogger(__name__)


class UnknownKeys:
    """A callback that warns, once for each, of keys in settings that a run with frames does not have.

    Parameters
    ----------
    settings : FrameSettings
    """

    def __init__(self, settings: FrameSettings) -> None:
        self._named = dict.fromkeys(settings.image_keys or (), "image_keys")
        self._named |= dict.fromkeys(settings.masks or (), "masks")
        self._seen: dict[str, set[str]] = {}

    def __call__(self, name: str, doc: dict[str, Any]) -> None:
        """Take a document."""
        if name == "descriptor" and self._named:
            keys = {key for key, said in doc["data_keys"].items() if holds_images(said)}
            self._seen.setdefault(doc["run_start"], set()).update(keys)
        elif name == "stop" and (seen := self._seen.pop(doc["run_start"], None)):
            for key in self._named.keys() - seen:
                near = difflib.get_close_matches(key, seen, 1) or sorted(seen)
                logger.warning(
                    "the setting %s names %r, but the run %s has frames under %s only: is it %r?",
                    self._named.pop(key),
                    key,
                    doc["run_start"],
                    ", ".join(sorted(seen)),
                    near[0],
                )
