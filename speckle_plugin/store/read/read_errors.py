"""Why the Tiled server does not give frames, in one line, without the address that was asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from speckle_plugin.frames.reader import FrameReadError

__all__ = ["frame_errors", "reason_given"]

NOT_OF_THE_FRAME = frozenset({401, 429, 502, 503, 504})
"""Answers of a server that say nothing of the frame that was asked for."""


@contextmanager
def frame_errors(array: Any, image_key: str, indices: Sequence[int]) -> Iterator[None]:
    """Make of what the server says of frames that can't be read an error of these frames.

    Parameters
    ----------
    array : tiled.client.array.ArrayClient
        Of the frames.
    image_key : str
    indices : sequence of int
        Of those that are read, ascending.

    Raises
    ------
    FrameReadError
        With the server's reason; where it gives none, with the files that it was to read.
    """
    import httpx

    try:
        yield
    except httpx.HTTPStatusError as error:
        status = error.response.status_code
        if status in NOT_OF_THE_FRAME:
            raise
        frames = f"frame {indices[0]}" if len(indices) == 1 else f"frames {indices[0]} to {indices[-1]}"
        why = reason_given(error.response)
        if not why:
            why = (
                f"it answers {status} without a reason. Is {_first_file(array)} still there, and in a folder "
                "that the server reads (readable_storage in its configuration)? Its log says more"
            )
        raise FrameReadError(f"the Tiled server can't give {frames} of {image_key}: {why}") from error


def reason_given(response: Any) -> str:
    """Give the reason by which the server refuses, from its answer, a httpx.Response; empty without one."""
    if response.status_code < 500:
        with suppress(ValueError, KeyError, TypeError):  # no JSON, or another server's
            return " ".join(str(response.json()["detail"]).split())
    return ""


def _first_file(array: Any) -> str:
    with suppress(Exception):  # the server may be failing altogether
        for source in array.data_sources() or ():
            for asset in source.assets:
                return str(asset.data_uri)
    return "their file"
