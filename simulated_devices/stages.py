"""A simulated linear stage with limits, to be moved by any plan as a motor would be."""

from __future__ import annotations

import math
from typing import Any

from ophyd.sim import SynAxis
from ophyd.status import MoveStatus
from ophyd.utils import LimitError

__all__ = ["SampleStage"]


class SampleStage(SynAxis):
    """A stage that reads `name` (its position) and `name_setpoint`, always as floats.

    Parameters
    ----------
    limits : tuple of float
        Lowest and highest position, in `egu`.
    delay : float
        Seconds that a move takes.
    **kwargs
        As of :class:`ophyd.sim.SynAxis`; `egu` is mm.
    """

    def __init__(
        self,
        prefix: str = "",
        *,
        name: str,
        limits: tuple[float, float] = (-math.inf, math.inf),
        delay: float = 0.0,
        **kwargs: Any,
    ) -> None:
        self.limits = (float(limits[0]), float(limits[1]))
        value = min(max(0.0, self.limits[0]), self.limits[1])
        super().__init__(name=name, value=value, delay=delay, readback_func=float, **kwargs)

    def describe(self) -> dict[str, Any]:
        """Describe position and set point, with their unit."""
        described: dict[str, Any] = super().describe()
        return {key: {**spec, "units": self.egu} for key, spec in described.items()}

    def check_value(self, value: float) -> None:
        """Check that a position can be reached.

        Raises
        ------
        LimitError
            If the position is no number within the limits.
        """
        low, high = self.limits
        if not low <= value <= high:
            raise LimitError(
                f"{self.name} can be moved from {low:g} to {high:g} {self.egu}, not to {value!r}: "
                "scan within the limits, or make the sample larger"
            )

    def set(self, value: float) -> MoveStatus:
        """Move, and give a status that is done at the end of the move.

        Raises
        ------
        LimitError
            If the position is no number within the limits.
        """
        self.check_value(value)
        # An int would make the first event's column one of integers, which a later 0.5 breaks.
        return super().set(float(value))
