"""Frames of NTNDArray structures, the form in which EPICS's PVAccess streams them.

p4p hands the structure on as it is: one dimension, in the order of Fortran, perhaps compressed by one of
the codecs of areaDetector's NDPluginCodec.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["NTNDArrayError", "read_nt_ndarray"]

TYPES = "?bhiqBHIQfd"
"""Element types by the number that pvData gives them, from `boolean` to `double`, as of :mod:`struct`."""

BITSHUFFLE_BLOCK = 8192
"""Bytes of a block of bitshuffle by default, whole eights of elements of it."""


class NTNDArrayError(ValueError):
    """A structure holds no frame that can be read."""


def read_nt_ndarray(value: Any) -> NDArray[Any]:
    """Give the frame of a structure.

    Parameters
    ----------
    value : p4p.Value
        Of the type `epics:nt/NTNDArray:1.0`, not unwrapped.

    Returns
    -------
    array, shape (rows, columns)

    Raises
    ------
    NTNDArrayError
        If it has not two dimensions, or its codec is not known, or its data are damaged.
    """
    # Dimensions of length 1 are what a colour mode leaves of a grey frame.
    shape = tuple(int(dimension.size) for dimension in reversed(value.dimension) if dimension.size != 1)
    if len(shape) != 2:
        sizes = [int(dimension.size) for dimension in value.dimension]
        raise NTNDArrayError(f"expected a frame of two dimensions, columns and rows, got the sizes {sizes}")
    data, codec = np.asarray(value.value), str(value.codec.name or "")
    if codec:
        data = _decompress(data, codec, value.codec.parameters, int(np.prod(shape)))
    if data.size != np.prod(shape):
        raise NTNDArrayError(f"expected {shape[0]} x {shape[1]} pixels, got {data.size}")
    return data.reshape(shape)


def _decompress(data: NDArray[Any], codec: str, parameters: Any, count: int) -> NDArray[Any]:
    """Decompress a number of pixels, whose type the codec's parameters say."""
    if codec not in _CODECS:
        known = ", ".join(_CODECS)
        raise NTNDArrayError(f"frames are compressed by {codec!r}, expected one of {known}, or none")
    try:
        dtype = np.dtype(TYPES[int(parameters)])
        raw = _CODECS[codec](data.tobytes(), dtype, count)
        return np.frombuffer(raw, dtype)
    except ImportError:
        raise
    except Exception as error:
        raise NTNDArrayError(f"a frame compressed by {codec!r} is damaged: {error}") from error


def _blosc(data: bytes, dtype: np.dtype[Any], count: int) -> bytes:
    import numcodecs

    return bytes(numcodecs.Blosc().decode(data))


def _lz4(data: bytes, dtype: np.dtype[Any], count: int) -> bytes:
    import lz4.block

    return lz4.block.decompress(data, uncompressed_size=count * dtype.itemsize)


def _bitshuffle_lz4(data: bytes, dtype: np.dtype[Any], count: int) -> bytes:
    """Decompress by the filter of HDF5, which wants lengths before the data."""
    import h5py
    import hdf5plugin

    block = max(BITSHUFFLE_BLOCK // dtype.itemsize // 8 * 8, 128) * dtype.itemsize
    header = struct.pack(">QI", count * dtype.itemsize, block)
    with h5py.File(io.BytesIO(), "w") as file:
        filters = hdf5plugin.Bitshuffle(nelems=0, cname="lz4")
        dataset = file.create_dataset("frame", (count,), dtype, chunks=(count,), **filters)
        dataset.id.write_direct_chunk((0,), header + data)
        return bytes(dataset[()].tobytes())


def _jpeg(data: bytes, dtype: np.dtype[Any], count: int) -> bytes:
    from PIL import Image

    return Image.open(io.BytesIO(data)).tobytes()


_CODECS: dict[str, Callable[[bytes, np.dtype[Any], int], bytes]] = {
    "blosc": _blosc,
    "lz4": _lz4,
    "bslz4": _bitshuffle_lz4,
    "jpeg": _jpeg,
}
