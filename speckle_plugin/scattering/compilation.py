"""Compile with numba, and keep what was compiled where that is possible.

numba refuses to decorate with ``cache=True`` where neither the package's folder nor the user's
cache folder can be written (a read-only installation run by a service without a home). There the
functions are compiled anew in each process.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba

__all__ = ["compiled"]


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """Decorate a function for numba, which leaves Python's lock while it runs.

    Parameters
    ----------
    **options
        Of :func:`numba.njit`, beside ``nogil`` and ``cache``.
    """

    def decorate(function: Callable[..., Any]) -> Any:
        try:
            return numba.njit(cache=True, nogil=True, **options)(function)
        except RuntimeError:  # "cannot cache function ...: no locator available"
            return numba.njit(nogil=True, **options)(function)

    return decorate
