"""The eight ways in which an image can stand: turned by quarters, and mirrored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

__all__ = ["ORIENTATIONS", "Orientation"]


@dataclass(frozen=True)
class Orientation:
    """One of the eight: first rows and columns are exchanged or not, then each is reversed or not."""

    transposed: bool = False
    rows_reversed: bool = False
    columns_reversed: bool = False

    def turn(self, frames: NDArray[Any]) -> NDArray[Any]:
        """Turn frames, shape (..., rows, columns), without copying them."""
        if self.transposed:
            frames = frames.swapaxes(-1, -2)
        return frames[..., :: -1 if self.rows_reversed else 1, :: -1 if self.columns_reversed else 1]

    @property
    def back(self) -> Orientation:
        """What turns a frame back that this has turned."""
        if not self.transposed:
            return self
        return Orientation(True, self.columns_reversed, self.rows_reversed)

    def turn_shape(self, shape: tuple[int, int]) -> tuple[int, int]:
        """Give rows and columns after turning."""
        return (shape[1], shape[0]) if self.transposed else shape

    def turn_point(self, point: tuple[float, float], shape: tuple[int, int]) -> tuple[float, float]:
        """Give the (row, column) at which a point of a frame of `shape` stands after turning."""
        row, column = (point[1], point[0]) if self.transposed else point
        rows, columns = self.turn_shape(shape)
        return (
            rows - 1 - row if self.rows_reversed else row,
            columns - 1 - column if self.columns_reversed else column,
        )


ORIENTATIONS = {
    "as-stored": Orientation(),
    "upside-down": Orientation(rows_reversed=True),
    "mirrored": Orientation(columns_reversed=True),
    "half-turn": Orientation(rows_reversed=True, columns_reversed=True),
    "left-turn": Orientation(transposed=True, rows_reversed=True),
    "right-turn": Orientation(transposed=True, columns_reversed=True),
    "transposed": Orientation(transposed=True),
    "anti-transposed": Orientation(transposed=True, rows_reversed=True, columns_reversed=True),
}
"""By name; a left turn is that of numpy.rot90, counterclockwise with row 0 above."""
