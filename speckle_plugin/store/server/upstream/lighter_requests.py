"""Making each request cost the server less of the processor that it shares with the scan.

FastAPI (0.165) inspects the signatures of all dependencies of a route again for each request as soon as
an application overrides one of them, as Tiled (0.2.20) does: 159 times for a request that writes a table,
a fifth to a third of the time of a request. It would end when FastAPI caches these again.
"""

from __future__ import annotations

import functools
from typing import Any

import fastapi.dependencies.utils as fastapi_dependencies

__all__ = ["inspect_dependencies_once", "remembered"]

_get_dependant = fastapi_dependencies.get_dependant


def inspect_dependencies_once() -> None:
    """Have FastAPI remember what it found in a signature. Calling it again changes nothing."""
    fastapi_dependencies.get_dependant = _remembered


def _remembered(**arguments: Any) -> Any:
    named = tuple(
        (name, tuple(value) if isinstance(value, list) else value) for name, value in arguments.items()
    )
    try:
        hash(named)
    except TypeError:
        return _get_dependant(**arguments)
    return _inspected(named)


@functools.lru_cache(maxsize=4096)
def _inspected(arguments: tuple[tuple[str, Any], ...]) -> Any:
    again: dict[str, Any] = {
        name: list(value) if isinstance(value, tuple) else value for name, value in arguments
    }
    return _get_dependant(**again)


def remembered() -> Any:
    """Tell how often FastAPI asked for what was remembered, and for what was not (`functools.lru_cache`)."""
    return _inspected.cache_info()
