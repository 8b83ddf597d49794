"""What the files of stored frames say of them, read where they lie on this machine."""

from __future__ import annotations

import os
from typing import Any
from urllib.parse import unquote, urlparse

from speckle_plugin.frames.opening import open_source
from speckle_plugin.frames.source import FrameFileError, Statements

__all__ = ["read_file_statements"]


def read_file_statements(array: Any) -> Statements:
    """Read what the first file of a stored array says of its frames.

    Parameters
    ----------
    array : tiled.client.array.ArrayClient

    Returns
    -------
    Statements
        Empty ones, where the file is not on this machine or says nothing.
    """
    for source in array.data_sources() or ():
        dataset = source.parameters.get("dataset")
        for asset in source.assets:
            path = unquote(urlparse(asset.data_uri).path)
            if not os.path.isfile(path):
                continue
            try:
                with open_source(path, dataset) as opened:
                    return opened.statements()
            except FrameFileError:
                return Statements()
    return Statements()
