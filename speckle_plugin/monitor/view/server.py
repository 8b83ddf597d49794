"""The server of the pages: who may see them, and what a page does when its connection is lost."""

from __future__ import annotations

import html
import logging
import secrets
import socket
from typing import Any

import panel as pn
from bokeh.models import CustomJS
from tornado.websocket import WebSocketClosedError

from speckle_plugin.monitor.model import Monitor
from speckle_plugin.monitor.view.page import Page
from speckle_plugin.monitor.view.style import CARD, CSS

__all__ = ["MonitorServer", "origins_of"]

TITLE = "Speckle monitor"

COME_BACK = """
if (window.speckle_lost) { return }
window.speckle_lost = true
const note = document.createElement("div")
note.id = "speckle-lost"
note.textContent = "The connection to the monitor is lost. This page loads again when it answers."
note.style = "position:fixed;top:0;left:0;right:0;z-index:9999;padding:10px 16px;" +
  "background:#d55e00;color:white;font:14px system-ui, sans-serif"
document.body.appendChild(note)
const again = setInterval(() => {
  fetch(window.location.href, {cache: "no-store"}).then((answer) => {
    if (answer.ok) { clearInterval(again); window.location.reload() }
  }).catch(() => {})
}, 2000)
"""
"""A page that slept for a day, or whose monitor was started again, has a session that nobody knows."""

NO_KEY = """
<h2>This page needs its key</h2>
<p>{said} Open the address that <code>speckle monitor</code> printed when it started, with
<code>?key=</code> and what follows. The key changes at each start, unless
<code>SPECKLE_MONITOR_KEY</code> says it.</p>
"""


class MonitorServer:
    """Serves the pages of a monitor.

    Parameters
    ----------
    monitor : Monitor
    key : str
        What an address must have as `?key=`.
    port : int
        0 for a free one.
    address : str
        Where it listens; by default on this machine only.

    Raises
    ------
    OSError
        If the port is taken.
    """

    def __init__(self, monitor: Monitor, key: str, port: int = 0, address: str = "127.0.0.1") -> None:
        self._monitor, self._key, self.address = monitor, key, address
        _expect_closed_pages()
        self.port = port or _free_port(address)
        pn.extension("tabulator", notifications=False, raw_css=[CSS])
        pn.config.respect_explicit_sizing = True  # figures stretch inside of boxes that have a height
        self._server = pn.serve(
            {"/": self._page},
            port=self.port,
            address=address,
            websocket_origin=origins_of(address, self.port),
            show=False,
            start=False,
            verbose=False,
            title=TITLE,
        )
        self._server.start()

    @property
    def url(self) -> str:
        """The address of the page, with its key."""
        host = "localhost" if self.address in ("127.0.0.1", "::1", "0.0.0.0", "::") else self.address
        return f"http://{host}:{self.port}/?key={self._key}"

    def run_until_stopped(self) -> None:
        """Serve, on this thread, until `stop` is called or Ctrl-C."""
        self._server.io_loop.start()

    def stop(self) -> None:
        """End serving; may be called from any thread."""
        loop = self._server.io_loop
        loop.add_callback(self._server.stop)
        loop.add_callback(loop.stop)

    def _page(self) -> Any:
        given = (pn.state.session_args.get("key") or [b""])[0]
        if not secrets.compare_digest(given, self._key.encode()):
            said = "It was opened with a wrong key." if given else "It was opened without one."
            return pn.Column(
                pn.pane.HTML(NO_KEY.format(said=html.escape(said)), max_width=640),
                styles={**CARD, "max-width": "680px", "margin": "60px auto"},
            )
        document: Any = pn.state.curdoc
        document.js_on_event("connection_lost", CustomJS(code=COME_BACK))
        return Page(self._monitor, document).panel


class _NotOfClosedPages(logging.Filter):
    """Leaves out that something could not be sent to a page that was closed meanwhile."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        return not isinstance(error, WebSocketClosedError)


def _expect_closed_pages() -> None:
    # Bokeh keeps the session of a page for some seconds after its browser has gone, and goes on sending.
    logging.getLogger("bokeh.server.views.ws").setLevel(logging.ERROR)
    logging.getLogger("asyncio").addFilter(_NotOfClosedPages())


def _free_port(address: str) -> int:
    # Bokeh has to be told from which addresses pages connect before it listens.
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as bound:
        bound.bind((address, 0))
        return int(bound.getsockname()[1])


def origins_of(address: str, port: int) -> list[str]:
    """Give the addresses from whose pages connections are taken."""
    if address in ("0.0.0.0", "::"):
        return ["*"]  # by whatever name this machine is called; the key is asked for in any case
    return [f"{name}:{port}" for name in ("localhost", "127.0.0.1", address)]
