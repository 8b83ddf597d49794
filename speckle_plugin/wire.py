"""Messages between processes as bytes: a line of JSON, and arrays in numpy's format.

Nothing that is read can run code, as pickled objects can. Whoever reads raises EOFError if the stream ends
before, and ValueError if it holds something else.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["pack_line", "pack_message", "read_exactly", "read_line", "read_message"]


def pack_message(
    header: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]], default: Callable[[Any], Any] | None = None
) -> bytes:
    """Give the bytes of a header with arrays; `default` is that of :func:`json.dumps`."""
    packed = {name: _packed(array) for name, array in arrays.items()}
    sizes = {name: len(array) for name, array in packed.items()}
    return b"".join((pack_line({**header, "bytes": sizes}, default), *packed.values()))


def read_message(stream: IO[bytes]) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Read a header and its arrays."""
    header = read_line(stream)
    return header, {name: _unpacked(read_exactly(stream, size)) for name, size in header["bytes"].items()}


def pack_line(values: Mapping[str, Any], default: Callable[[Any], Any] | None = None) -> bytes:
    """Give a line of JSON."""
    return json.dumps(values, default=default).encode() + b"\n"


def read_line(stream: IO[bytes]) -> dict[str, Any]:
    """Read a line of JSON."""
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError("the stream ended")
    values: dict[str, Any] = json.loads(line)
    return values


def read_exactly(stream: IO[bytes], size: int) -> bytes:
    """Read so many bytes."""
    found = stream.read(size)
    if len(found) < size:
        raise EOFError("the stream ended")
    return found


def _packed(array: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, np.asarray(array), allow_pickle=False)
    return buffer.getvalue()


def _unpacked(packed: bytes) -> NDArray[Any]:
    array: NDArray[Any] = np.lib.format.read_array(io.BytesIO(packed), allow_pickle=False)
    return array
