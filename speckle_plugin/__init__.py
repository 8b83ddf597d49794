"""Read coherent X-ray speckle patterns while they are measured.

What most users need stands here: :func:`start_session` to measure, :func:`find_runs` and :func:`find_frames`
to find again, :class:`Classifier` to classify frames at hand. Each is imported when it is first asked for.
"""

from __future__ import annotations

# TensorFlow carries a SQLite of its own, without the full-text search that Tiled's catalog
# needs. The first one loaded serves the whole process, so Python's comes before TensorFlow.
import sqlite3  # noqa: F401
from importlib import import_module
from typing import TYPE_CHECKING, Any

from speckle_plugin.openvino_reports import refuse_reports

if TYPE_CHECKING:
    from speckle_plugin.network.classifier import Classifier
    from speckle_plugin.session import start_session
    from speckle_plugin.store import find_frames, find_runs

    __version__: str

__all__ = ["Classifier", "__version__", "find_frames", "find_runs", "start_session"]

refuse_reports()  # here, since whoever imports OpenVINO later must find it done

_HOME = {
    "Classifier": "speckle_plugin.network.classifier",
    "find_frames": "speckle_plugin.store",
    "find_runs": "speckle_plugin.store",
    "start_session": "speckle_plugin.session",
}


def __getattr__(name: str) -> Any:
    """Import what is asked for."""
    if name == "__version__":
        from importlib.metadata import version

        return version("speckle-plugin")
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    """List the names above as well."""
    return sorted([*globals(), *__all__])
