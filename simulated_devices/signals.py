"""A soft signal that refuses wrong values at once and keeps plain Python values.

Use :class:`CheckedSignal` for the settings of a simulated device: what a plan sets is checked
when it is set, not when an exposure fails, and a NumPy scalar never gets into a document.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from ophyd import Signal

__all__ = ["CheckedSignal", "count", "flag", "non_negative"]


class CheckedSignal(Signal):
    """A signal whose values pass through a function.

    Parameters
    ----------
    check : callable
        Takes a value and returns it as a plain `bool`, `int`, `float` or `str`, or raises ValueError.
    **kwargs
        As of :class:`ophyd.Signal`; `value` is checked, too.
    """

    def __init__(self, *, check: Callable[[Any], Any], value: Any, **kwargs: Any) -> None:
        self._check = check
        super().__init__(value=check(value), **kwargs)

    def put(self, value: Any, **kwargs: Any) -> None:
        """Set the value.

        Raises
        ------
        ValueError
            If the value is refused.
        """
        try:
            checked = self._check(value)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self.name}: {error}") from error
        super().put(checked, **kwargs)


def non_negative(value: Any) -> float:
    """Check for a finite number of 0 or more."""
    number = float(value)
    if not (math.isfinite(number) and number >= 0):
        raise ValueError(f"expected a finite number of 0 or more, got {value!r}")
    return number


def count(value: Any) -> int:
    """Check for an integer of 1 or more."""
    if int(value) != value or value < 1:
        raise ValueError(f"expected an integer of 1 or more, got {value!r}")
    return int(value)


def flag(value: Any) -> bool:
    """Check for true or false."""
    if value not in (True, False):
        raise ValueError(f"expected True or False, got {value!r}")
    return bool(value)
