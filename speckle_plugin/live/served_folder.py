"""Whether frames lie where the Tiled server can read them, found out at the first frame.

A detector that writes elsewhere is noticed by nobody: the scan succeeds, its frames are classified from
their files, and reading them from the catalog fails for ever.
"""

from __future__ import annotations

import functools
import logging
import os
from pathlib import Path

from speckle_plugin.documents.frame_finder import FrameReference

__all__ = ["ServedFolder"]

logger = logging.getLogger(__name__)


class ServedFolder:
    """Tells frames that lie outside of a folder.

    Parameters
    ----------
    folder : Path or None
        What the server reads; None where that is not known.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = None if folder is None else os.path.realpath(folder)
        self._told: set[tuple[str, str]] = set()

    def find_problem(self, reference: FrameReference) -> str:
        """Tell what is wrong with the place of a frame; empty if nothing is. The log has it once."""
        if self._folder is None or not reference.path:
            return ""
        folder = os.path.dirname(reference.path)
        if _is_below(folder, self._folder):
            return ""
        key = reference.detector.image_key
        problem = (
            f"the frames of {key} are in {folder}, and the Tiled server reads {self._folder} only: they are "
            "classified, but cannot be read from the catalog. Let the detector write into that folder"
        )
        if (key, folder) not in self._told:
            self._told.add((key, folder))
            logger.error(problem)
        return problem


@functools.lru_cache(maxsize=1024)
def _is_below(path: str, folder: str) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(folder)
