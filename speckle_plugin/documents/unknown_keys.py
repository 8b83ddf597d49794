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

    At the first frame, if one of its keys is nearly the same, and not of another number only (`det1`,
    `det2`); else at the end of the run, since another stream may have it.

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
            seen = self._seen.setdefault(doc["run_start"], set())
            seen |= {key for key, said in doc["data_keys"].items() if holds_images(said)}
            for key in self._named.keys() - seen:
                others = [one for one in seen - self._named.keys() if _letters(one) != _letters(key)]
                if near := difflib.get_close_matches(key, others, 1):
                    self._tell(key, doc["run_start"], seen, near[0])
        elif name == "stop" and (seen := self._seen.pop(doc["run_start"], set())):
            for key in self._named.keys() - seen:
                near = difflib.get_close_matches(key, seen, 1) or sorted(seen)
                self._tell(key, doc["run_start"], seen, near[0])

    def _tell(self, key: str, uid: str, seen: set[str], near: str) -> None:
        logger.warning(
            "the setting %s names %r, but the run %s has frames under %s only: is it %r?",
            self._named.pop(key),
            key,
            uid,
            ", ".join(sorted(seen)),
            near,
        )


def _letters(key: str) -> str:
    return "".join(letter for letter in key if not letter.isdigit())
