"""The server's application in a test's own process, to look into it; the product has it in another one."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import fastapi.dependencies.utils as fastapi_dependencies
import pytest
import uvicorn
from tiled.catalog.adapter import CatalogNodeAdapter

from speckle_plugin.store.server.application import make_application
from speckle_plugin.store.server.location import Location

KEY = "ab" * 32


@contextmanager
def same_application(directory: Path) -> Iterator[Any]:
    """Make the application of a data directory, and undo what it changes in Tiled and FastAPI."""
    for name in ("frames", "journal", "tiled"):
        (directory / name).mkdir(parents=True, exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        for owner, name in ((CatalogNodeAdapter, "put_data_source"), (fastapi_dependencies, "get_dependant")):
            patch.setattr(owner, name, getattr(owner, name))
        yield make_application(Location.open(directory), KEY)


@contextmanager
def served_here(directory: Path) -> Iterator[str]:
    """Serve a data directory on a thread, and give the address."""
    with same_application(directory) as application, socket.create_server(("127.0.0.1", 0)) as listening:
        server = uvicorn.Server(uvicorn.Config(application, log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/api/v1"
        finally:
            server.should_exit = True
            thread.join()
