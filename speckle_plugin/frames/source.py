"""The seam of all frame files: open a path, know how many frames of which size, read a slice of them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FrameFileError", "FrameSource", "JoinedSource", "Statements", "clear_errors", "frames_shape"]


class FrameFileError(ValueError):
    """A file that can't be read as frames.

    Parameters
    ----------
    message : str
    not_yet : bool
        It may be readable later: another program still writes it, or it is not there yet.
    in_use : bool
        Another program has locked it, and it can be read when that closes it.
    """

    def __init__(self, message: str, not_yet: bool = False, in_use: bool = False) -> None:
        super().__init__(message)
        self.not_yet = not_yet or in_use
        self.in_use = in_use


@contextmanager
def clear_errors(what: str) -> Iterator[None]:
    """Turn any error into FrameFileError: for damaged files the libraries raise whatever comes up.

    Parameters
    ----------
    what : str
        That can't be read.
    """
    try:
        yield
    except FrameFileError:
        raise
    except PermissionError:
        raise FrameFileError(f"{what} may not be read by you: see the permissions of the file") from None
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise FrameFileError(f"{what} can't be read, it may be damaged: {reason}", not_yet=True) from error


@dataclass(frozen=True, eq=False)
class Statements:
    """What a file says of its frames; None where it says nothing.

    Parameters
    ----------
    disk_number : array of int, shape (frames,)
        The ground truth.
    beam_center : (row, column)
        In pixels, (0, 0) being the middle of the first one.
    k_step : float
        Wave number per pixel; from wavelength, distance and pixel size it is in 1/nm.
    saturation_level : float
        Value from which on a pixel is saturated.
    mask : array of bool, shape (rows, columns)
        True where a pixel is to be left out.
    """

    disk_number: NDArray[np.int64] | None = None
    beam_center: tuple[float, float] | None = None
    k_step: float | None = None
    saturation_level: float | None = None
    mask: NDArray[np.bool_] | None = None


class FrameSource:
    """An open file of frames; a `with` closes it.

    Parameters
    ----------
    name : str
        How errors call it.
    shape : tuple of int
        Frames, rows, columns. Further axes before the rows count as frames, the last one fastest.
    dtype : dtype
    missing : str
        Why there are fewer frames than the file promises; empty if there are not.
    is_single : bool
        The array is one frame, without an axis of frames.
    """

    def __init__(
        self,
        name: str,
        shape: tuple[int, int, int],
        dtype: np.dtype[Any],
        missing: str = "",
        is_single: bool = False,
    ) -> None:
        self.name = name
        self.shape = shape
        self.dtype = dtype
        self.missing = missing
        self.is_single = is_single

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames `start` to `stop` - 1, shape (stop - start, rows, columns).

        Raises
        ------
        FrameFileError
            If there are not so many, or the file is damaged.
        """
        self.check_range(start, stop)
        with clear_errors(f"frame {start} of {self.name}"):
            return self._read(start, stop)

    def statements(self) -> Statements:
        """Give what the file says of its frames.

        Raises
        ------
        FrameFileError
            If it says what can't be, or is damaged.
        """
        with clear_errors(f"what {self.name} says of its frames"):
            return self._statements()

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        """Read frames that are there."""
        raise NotImplementedError

    def _statements(self) -> Statements:
        return Statements()

    def number(self, name: str, index: int) -> float:
        """Give one number of another array of the file, such as the time of a frame.

        Raises
        ------
        FrameFileError
            If there is none.
        """
        raise FrameFileError(f"{self.name} holds no array {name!r} beside its frames")

    def close(self) -> None:
        """Close the file."""

    def __enter__(self) -> FrameSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def check_range(self, start: int, stop: int) -> None:
        """Raise FrameFileError unless frames `start` to `stop` - 1 are there."""
        if not 0 <= start < stop <= self.shape[0]:
            wanted = f"none with index {start}" if stop == start + 1 else f"not {start} to {stop - 1}"
            reason = f" ({self.missing})" if self.missing else ""
            raise FrameFileError(
                f"{self.name} holds {self.shape[0]} frames, counted from 0, {wanted}{reason}",
                not_yet=True,
            )


class JoinedSource(FrameSource):
    """Several sources of frames of one shape, one after the other.

    Raises
    ------
    FrameFileError
        If they are unlike.
    """

    def __init__(self, name: str, parts: Sequence[FrameSource], missing: str = "") -> None:
        first = parts[0]
        for part in parts:
            if part.shape[1:] != first.shape[1:] or part.dtype != first.dtype:
                raise FrameFileError(
                    f"{part.name} holds {part.dtype} frames of {part.shape[1:]} pixels, {first.name} "
                    f"{first.dtype} of {first.shape[1:]}: frames read together must be alike"
                )
        self._parts = parts
        self._ends = np.cumsum([part.shape[0] for part in parts])
        super().__init__(name, (int(self._ends[-1]), *first.shape[1:]), first.dtype, missing)

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        pieces = []
        for part, end in zip(self._parts, self._ends, strict=True):
            begin = int(end) - part.shape[0]
            low, high = max(start, begin), min(stop, int(end))
            if low < high:
                pieces.append(part.read(low - begin, high - begin))
        return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)

    def _statements(self) -> Statements:
        return self._parts[0].statements()

    def close(self) -> None:  # noqa: D102
        for part in self._parts:
            part.close()


def frames_shape(name: str, shape: tuple[int, ...]) -> tuple[int, int, int]:
    """Give (frames, rows, columns) of an array of frames.

    Parameters
    ----------
    name : str
        How errors call the array.
    shape : tuple of int
        Rows and columns are the last two axes.

    Raises
    ------
    FrameFileError
        If it is not an array of frames.
    """
    if len(shape) < 2:
        raise FrameFileError(
            f"{name} must have the shape (frames, rows, columns) or (rows, columns), with further axes "
            f"before these if need be, not {shape}"
        )
    if 0 in shape:
        raise FrameFileError(f"{name} is empty: its shape is {shape}", not_yet=True)
    if len(shape) > 2 and shape[-1] in (3, 4) and shape[-2] > 4:
        raise FrameFileError(
            f"{name} holds colours, its shape is {shape}: give one number per pixel, such as the sum"
        )
    return int(np.prod(shape[:-2], dtype=np.int64)), int(shape[-2]), int(shape[-1])
