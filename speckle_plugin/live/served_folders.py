"""Whether frames lie where the Tiled server can read them, found out at the first frame.

A detector that writes elsewhere is noticed by nobody: the scan succeeds, its frames are classified from
their files, and reading them from the catalog fails for ever.
"""

from __future__ import annotations

import functools
import logging
import os
from collections.abc import Sequence
from pathlib import Path

from speckle_plugin.documents.frame_finder import FrameReference

__all__ = ["ServedFolders"]

logger = logging.getLogger(__name__)


class ServedFolders:
    """Tells frames that lie outside of some folders.

    Parameters
    ----------
    folders : sequence of Path
        What the server reads; empty where that is not known.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._folders = tuple(os.path.realpath(folder) for folder in folders)
        self._told: set[tuple[str, str]] = set()

    def find_problem(self, reference: FrameReference) -> str:
        """Tell what is wrong with the place of a frame; empty if nothing is. The log has it once."""
        if not self._folders or not reference.path:
            return ""
        folder = os.path.dirname(reference.path)
        if _is_below(folder, self._folders):
            return ""
        key = reference.detector.image_key
        served = ", ".join(self._folders)
        problem = (
            f"the frames of {key} are in {folder}, and the Tiled server reads {served} only: "
            "they are classified, but cannot be read from the catalog. Let the detector write into that "
            "folder, or name the detector's in the setting frame_folders"
        )
        if (key, folder) not in self._told:
            self._told.add((key, folder))
            logger.error(problem)
        return problem


@functools.lru_cache(maxsize=1024)
def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(Path(os.path.realpath(path)).is_relative_to(folder) for folder in folders)
