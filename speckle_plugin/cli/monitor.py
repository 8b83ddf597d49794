"""`speckle monitor`: runs in the browser, while they are measured and afterwards."""

from __future__ import annotations

import errno
import os
import secrets
import signal
import webbrowser
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated

import typer

from speckle_plugin.cli.console import remark, stdout
from speckle_plugin.cli.errors import clear_errors
from speckle_plugin.cli.store_options import DEFAULT_DATA, DataOption, ServerOption, open_store

if TYPE_CHECKING:
    from speckle_plugin.monitor.view.server import MonitorServer

__all__ = ["monitor"]

USUAL_PORT = 5007

SHORTEST_KEY = 8
"""Characters that a key of one's own has at least."""


@clear_errors
def monitor(
    data: DataOption = DEFAULT_DATA,
    server: ServerOption = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="Where the page is.", show_default="5007, or else a free one"),
    ] = None,
    address: Annotated[
        str,
        typer.Option(
            metavar="IP",
            help="Where it listens: 0.0.0.0 lets other machines in, by the key, not encrypted.",
        ),
    ] = "127.0.0.1",
    show: Annotated[
        bool, typer.Option("--show", help="Open the page in the browser of this machine.")
    ] = False,
) -> None:
    """Show runs in the browser, while they are measured and afterwards, until Ctrl-C.

    The page lists the runs with their counts and lowest confidence. Of one run it shows the map, the line, or
    the frames in time, as they come; a click on a frame shows it, with mask, probabilities, what the network
    looks at, and the solved sample. Any number of people may look at once. Nothing can be changed there, and
    the scan does not wait for it. A key that may only read is enough for a server elsewhere.

    The page opens with the key in the address that is printed; a new one at each start, unless the
    environment says SPECKLE_MONITOR_KEY.

    **Examples**: runs of a data directory, in which a session may be measuring; those of a facility's server.

        speckle monitor --data demo-output --show

        speckle monitor --server https://tiled.facility.org --port 5007
    """
    from speckle_plugin.monitor.model import Monitor
    from speckle_plugin.monitor.view.server import MonitorServer
    from speckle_plugin.settings import read_settings

    settings = read_settings(data=data, server=server)
    key = os.environ.get("SPECKLE_MONITOR_KEY") or secrets.token_urlsafe(16)
    if len(key) < SHORTEST_KEY:
        raise ValueError(f"SPECKLE_MONITOR_KEY has {len(key)} characters: give {SHORTEST_KEY} or more")
    masks = settings.read_masks()
    with open_store(data, server) as store:
        os.nice(10)  # whatever is computed for a page gives way to the scan on this machine
        shown = Monitor(store, masks, settings.model)
        try:
            pages = _listen(lambda at: MonitorServer(shown, key, at, address), port)
            stdout().print(f"monitor  {pages.url}", soft_wrap=True, markup=False)
            remark(f"runs of {store.uri}; who has this address may look, and change nothing. Ctrl-C ends it")
            if show:
                webbrowser.open(pages.url)
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, lambda *_: pages.stop())
            pages.run_until_stopped()
        finally:
            shown.close()


def _listen(serve_at: Callable[[int], MonitorServer], port: int | None) -> MonitorServer:
    """Serve at the port that is wanted; without one at the usual one, if it is free."""
    wanted = USUAL_PORT if port is None else port
    try:
        return serve_at(wanted)
    except OSError as error:
        if port is None and error.errno == errno.EADDRINUSE:
            return serve_at(0)
        raise ValueError(
            f"can't listen at port {wanted} ({error.strerror or error}): another program may have it; give "
            "another `port`, or 0 for a free one, and an `address` of this machine"
        ) from error
