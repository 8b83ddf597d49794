"""Folders beside a data directory's own `frames` in which detectors write.

The data directory remembers them: whoever starts its server later, without the setting that named them, has
the runs whose frames lie there as well.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from speckle_plugin.store.lock import is_held

__all__ = ["note_frame_folders", "read_frame_folders"]

logger = logging.getLogger(__name__)


def _note(root: Path) -> Path:
    return root / "tiled" / "frame_folders.json"


def read_frame_folders(root: Path) -> tuple[Path, ...]:
    """Give the folders that a data directory remembers."""
    with suppress(OSError, ValueError):
        return tuple(map(Path, json.loads(_note(root).read_text(encoding="utf-8"))))
    return ()


def note_frame_folders(root: Path, folders: Iterable[Path]) -> None:
    """Have a data directory remember folders.

    A server that runs already does not read them yet; that is told.
    """
    known = read_frame_folders(root)
    every = tuple(dict.fromkeys([*known, *(Path(os.path.abspath(folder)) for folder in folders)]))
    if every == known:
        return
    _note(root).write_text(json.dumps([str(folder) for folder in every]), encoding="utf-8")
    if is_held(root):
        logger.warning(
            "the server of %s was started without the folders %s, and gives no frames of them yet: close all "
            "that has the data directory open, and open it again when its server has ended",
            root,
            ", ".join(str(folder) for folder in every if folder not in known),
        )
