"""Which stored runs a command works on: `--data` and `--server`, alike in every command that has them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from speckle_plugin.store import Store

__all__ = ["DEFAULT_DATA", "DataOption", "ServerOption", "open_store"]

DEFAULT_DATA = Path("~/speckle-data")

DataOption = Annotated[
    Path, typer.Option(envvar="SPECKLE_DATA", help="Data directory; a session may be open on it.")
]
ServerOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI|PROFILE",
        help="Tiled server elsewhere instead, by its address or a Tiled profile.",
        show_default=False,
    ),
]


def open_store(data: Path, server: str | None) -> Store:
    """Open the store of a data directory, or of a server or profile that runs.

    Raises
    ------
    ValueError
        If there is no data directory.
    StorageError
        If the store can't be opened.
    """
    from speckle_plugin.store import TiledStore, connect

    if server is not None:
        return connect(server, directory=data)
    data = data.expanduser()
    if not (data / "tiled").is_dir():
        raise ValueError(
            f"{data} is no data directory: give --data the folder of a session (speckle demo makes "
            "demo-output), or --server"
        )
    return TiledStore(data)
