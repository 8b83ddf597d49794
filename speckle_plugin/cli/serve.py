"""`speckle serve`: keep the server of a data directory running."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption
from speckle_plugin.shell import command

__all__ = ["serve"]


@clear_errors
def serve(
    data: DataOption = DEFAULT_DATA,
    port: Annotated[
        int,
        typer.Option(min=0, max=65535, help="Where it listens, if it is not there yet; 0 for a free port."),
    ] = 0,
    profile: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Tiled profile to write, for databroker.", show_default=False),
    ] = None,
) -> None:
    """Keep the server of a data directory running, until Ctrl-C.

    Not needed to measure or to query: sessions and commands start the server by themselves, and share it. Use
    this for programs that know nothing of data directories, such as databroker, and to have the next commands
    begin at once. To look at runs in a browser use speckle monitor: Tiled's own page shows frames and
    metadata, but no tables, and so no results.

    **Example**

        speckle serve --data demo-output --profile speckle
    """
    from speckle_plugin.settings import read_settings
    from speckle_plugin.store import TiledStore, write_profile

    settings = read_settings(data=data)
    data = settings.data
    with TiledStore(data, port=port, frame_folders=settings.frame_folders) as store:
        try:
            if profile is not None:
                write_profile(store, profile)
            console = stdout()
            told = f"serving {data} at {store.uri}, for this machine and user only"
            console.print(told, soft_wrap=True, markup=False)
            join = command("speckle", "query", "--data", data)
            console.print(f"join     {join}, or start a session on it", soft_wrap=True, markup=False)
            if profile is not None:
                console.print(f'         databroker.catalog["{profile}"]', markup=False)
            # The address holds the key: who types the command may see it, and the door is theirs anyway.
            console.print(f"Tiled    {store.web_url} (frames and metadata)", soft_wrap=True, markup=False)
            monitor = command("speckle", "monitor", "--data", data, "--show")
            console.print(f"browser  {monitor}", soft_wrap=True, markup=False)
            remark("Ctrl-C ends it")
            threading.Event().wait()
        except KeyboardInterrupt:
            remark("ending; who else uses the directory keeps the server")
