"""Why an array can't be read from its files, said to the client.

Where a reader of files fails, Tiled (0.2.20) answers 500 and keeps the reason to itself, and its clients ask
again and again. `reason_of` makes a client error of it: 404 where something is not there, 403 where it may
not be read, 409 where what is there can't be read as frames.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from fastapi import HTTPException
from tiled.adapters.utils import ShapeMismatchError
from tiled.server.core import NoEntry
from tiled.utils import BrokenLink

from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.source import FrameFileError

__all__ = ["ReadWithReasons", "reason_of", "with_reasons"]

OF_TILED = (NoEntry, ShapeMismatchError)
"""Errors that Tiled itself makes client errors of."""

OF_READERS = (OSError, KeyError, ValueError, RuntimeError, BrokenLink)
"""What readers of files raise; h5py the last two, of damaged files and of names that are not there."""

MOST_FILES = 100
"""Files of an array that are looked into for the reason, where the error names none."""


@contextmanager
def with_reasons(paths: Sequence[str], dataset: str | None = None) -> Iterator[None]:
    """Have errors of reading files name their reason.

    Parameters
    ----------
    paths : sequence of str
        The files.
    dataset : str, optional
        What is read of each.

    Raises
    ------
    HTTPException
        404, 403 or 409.
    """
    try:
        yield
    except OF_TILED:
        raise
    except OF_READERS as error:
        raise reason_of(error, paths, dataset) from error


def reason_of(error: Exception, paths: Sequence[str], dataset: str | None = None) -> HTTPException:
    """Find why files can't be read: what the operating system says of them, or our own reader.

    Parameters
    ----------
    error : Exception
        Of the reader that failed.
    paths : sequence of str
        The files that it was to read.
    dataset : str, optional
    """
    named = [path for path in paths if path in str(error) or path == getattr(error, "filename", None)]
    for path in (named or paths)[:MOST_FILES]:
        if not os.path.exists(path):
            return HTTPException(
                404, f"there is no file {path} any more: if it was deleted or moved, put it back there"
            )
        if not os.access(path, os.R_OK):
            return HTTPException(
                403,
                f"the Tiled server may not read {path}: give its user the right, such as by chmod u+r, and "
                "to enter the folder",
            )
        try:
            with open_source(path, dataset) as source:
                source.read(0, 1)
        except FrameFileError as found:
            return HTTPException(404 if isinstance(error, KeyError | BrokenLink) else 409, str(found))
    said = " ".join(str(error).split()) or type(error).__name__
    return HTTPException(409, f"{(named or [*paths, 'a file'])[0]} can't be read as frames: {said}")


class ReadWithReasons:
    """An adapter of an array, whose errors of reading name their reason.

    Parameters
    ----------
    adapter
        Of Tiled.
    paths : sequence of str
        Its files.
    dataset : str, optional
    """

    def __init__(self, adapter: Any, paths: Sequence[str], dataset: str | None) -> None:
        self._adapter, self._paths, self._dataset = adapter, paths, dataset

    def read(self, *arguments: Any, **options: Any) -> Any:
        """Read all, or a part."""
        with with_reasons(self._paths, self._dataset):
            return self._adapter.read(*arguments, **options)

    def read_block(self, *arguments: Any, **options: Any) -> Any:
        """Read a chunk."""
        with with_reasons(self._paths, self._dataset):
            return self._adapter.read_block(*arguments, **options)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._adapter, name)
