"""Which stored runs a command works on: `--data` and `--server`, alike in every command that has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speckle_plugin.store import Store

__all__ = ["DEFAULT_DATA", "DataOption", "ServerOption", "open_store"]

DEFAULT_DATA: Path | None = None
"""That of the settings: environment `SPECKLE_DATA`, or the file of settings."""

DataOption = Annotated[
    Path | None,
    typer.Option(
        help="Data directory; a session may be open on it.",
        show_default="that of the settings; ~/speckle-data",
    ),
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI|PROFILE",
        help="Tiled server elsewhere instead, by its address or a Tiled profile.",
        show_default="that of the settings; none",
    ),
]


def open_store(data: Path | None, server: str | None) -> Store:
    """Open the store of a data directory, or of a server or profile that runs.

    Parameters
    ----------
    data, server
        The options. Where neither is given, the settings say; a data directory alone means the runs in it.

    Raises
    ------
    ValueError
        If there is no data directory.
    StorageError
        If the store can't be opened.
    """
    from speckle_plugin.settings import read_settings

    settings = read_settings(data=data, server=server)
    if settings.server is None and not (settings.data / "tiled").is_dir():
        raise ValueError(
            f"{settings.data} is no data directory: give --data the folder of a session (speckle demo makes "
            "demo-output), or --server"
        )
    return settings.open_store()
