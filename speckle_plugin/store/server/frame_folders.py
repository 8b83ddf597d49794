"""Folders beside a data directory's own `frames` in which detectors write.

The data directory remembers them: whoever starts its server later, without the setting that named them, has
the runs whose frames lie there as well.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

__all__ = ["note_frame_folders", "read_frame_folders"]


def _note(root: Path) -> Path:
    return root / "tiled" / "frame_folders.json"


def read_frame_folders(root: Path) -> tuple[Path, ...]:
    """Give the folders that a data directory remembers."""
    with suppress(OSError, ValueError):
        return tuple(map(Path, json.loads(_note(root).read_text(encoding="utf-8"))))
    return ()


def note_frame_folders(root: Path, folders: Iterable[Path]) -> bool:
    """Have a data directory remember folders; tell whether any of them is new.

    Parameters
    ----------
    root : Path
    folders : iterable of Path
    """
    known = read_frame_folders(root)
    every = tuple(dict.fromkeys([*known, *(Path(os.path.abspath(folder)) for folder in folders)]))
    if every == known:
        return False
    _note(root).write_text(json.dumps([str(folder) for folder in every]), encoding="utf-8")
    return True
