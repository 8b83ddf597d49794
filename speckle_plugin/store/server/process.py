"""The process that serves a data directory: `python -m speckle_plugin.store.server.process DIRECTORY`.

`join` starts it. It writes one line of JSON to its standard output, an error or that it serves, and
goes on without its parent. It ends by itself when no process has used the directory for an idle time.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import gc
import json
import os
import secrets
import socket
import sys
import threading
import time
import traceback
from collections.abc import Collection
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import Any

from speckle_plugin.store.lock import DirectoryLock, StorageError, lock_file, unlock_file
from speckle_plugin.store.server.address import Address, read_address, remove_address, write_address
from speckle_plugin.store.server.location import Location
from speckle_plugin.store.server.profiles import remove_profiles
from speckle_plugin.thread_priority import give_way, give_way_as_session

__all__ = ["main"]

LOOK_INTERVAL = 0.25
"""Seconds between looking whether anybody still uses the directory."""

SHUTDOWN_TIMEOUT = 3
"""Seconds that requests and subscriptions have to end when the server closes; without a
limit a single open subscription would keep it."""

LOCK_PATIENCE = 1.0
"""Seconds for those who only look whether the directory is held."""


def main() -> None:
    """Serve a data directory until nobody uses it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="resolved, with its folders")
    parser.add_argument("--port", type=int, default=0, help="0 for a free one")
    parser.add_argument("--idle", type=float, required=True, help="seconds to stay without a user")
    parser.add_argument("--without", default="", help="see make_application; and: frozen, priority")
    options = parser.parse_args()
    if os.fork():
        os._exit(0)  # so that who started it has no child to look after
    try:
        _serve(options)
    except StorageError as error:
        _tell({"error": str(error)})
    except SystemExit:  # uvicorn's, where the application does not start
        _tell({"error": f"its own messages are in {options.directory / 'tiled' / 'error.log'}"})
    except Exception as error:
        traceback.print_exc()
        _tell({"error": f"{type(error).__name__}: {error}"})
    sys.stderr.flush()
    os._exit(0)  # the databases are closed; threads of libraries that are left are not waited for


def _tell(message: dict[str, Any]) -> None:
    """Tell who started this process, once; later output goes where errors go."""
    with suppress(OSError, ValueError):  # that one may be gone
        sys.stdout.write(json.dumps(message) + "\n")
        sys.stdout.flush()
        os.dup2(2, 1)


def _serve(options: argparse.Namespace) -> None:
    root: Path = options.directory
    without = options.without.split(",")
    lock = DirectoryLock(root, LOCK_PATIENCE)
    location = Location.open(root)
    try:
        listening, api_key = _listen(root, options.port)
        address = Address(
            port=listening.getsockname()[1],
            api_key=api_key,
            pid=os.getpid(),
            host=socket.gethostname(),
            version=version("speckle-plugin"),
            root=str(root),
            idle=options.idle,
        )
        # Collecting garbage takes a fifth of the time of imports, which leave none. It is not switched off:
        # dask asks at its import whether it is on, and leaves it so after each slice of an array.
        usual = gc.get_threshold()
        gc.set_threshold(1_000_000)
        from speckle_plugin.store.server.application import make_application

        server = _make_server(make_application(location, api_key, without), root / "tiled")
        gc.set_threshold(*usual)

        async def serve() -> None:
            watching = asyncio.create_task(_until_unused(server, root, address))
            ready = asyncio.create_task(_say_when_ready(server, root, address, without))
            await server.serve(sockets=[listening])
            for task in (watching, ready):
                task.cancel()

        asyncio.run(serve())
    finally:
        location.close()
        lock.release()


def _listen(root: Path, port: int) -> tuple[socket.socket, str]:
    """Take the port and key of a server that was killed, so that its clients can go on, or new ones."""
    last = read_address(root)
    if last is not None and last.is_here() and last.root == str(root):
        with suppress(OSError):  # the port is another program's now
            return _bound(last.port), last.api_key
    try:
        return _bound(port), secrets.token_hex(32)
    except OSError as error:
        raise StorageError(
            f"the server can't listen on port {port} of 127.0.0.1 ({error.strerror}): another program may "
            "have it; give another port, or 0 for a free one"
        ) from error


def _bound(port: int) -> socket.socket:
    # With the protocol given, asyncio sends all parts of an answer at once. Else the second part waits 40 ms
    # until the client acknowledges the first (Nagle's algorithm against delayed acknowledgements).
    bound = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(("127.0.0.1", port))
        bound.listen(128)
    except OSError:
        bound.close()
        raise
    return bound


def _make_server(app: Any, folder: Path) -> Any:
    import uvicorn
    from tiled.server.logging_config import LOGGING_CONFIG

    logs = copy.deepcopy(LOGGING_CONFIG)
    for handler, name in (("access", "access.log"), ("default", "error.log")):
        logs["handlers"][handler] |= {"class": "logging.FileHandler", "filename": str(folder / name)}
        del logs["handlers"][handler]["stream"]
    config = uvicorn.Config(app, loop="asyncio", log_config=logs, timeout_graceful_shutdown=SHUTDOWN_TIMEOUT)
    return uvicorn.Server(config)


async def _say_when_ready(server: Any, root: Path, address: Address, without: Collection[str]) -> None:
    while not server.started:
        await asyncio.sleep(0.01)
    if "frozen" not in without:
        # Requests make many objects that live on for a while, so that full collections are frequent, and
        # each would go through all objects of all imported modules: a third of the time of a request.
        gc.freeze()
    if "priority" not in without:
        give_way(threading.main_thread())  # and the threads that it starts from now on
        give_way_as_session()  # which is its own: `join` starts it so
    write_address(root, address)
    _tell({"serves": address.uri})


async def _until_unused(server: Any, root: Path, address: Address) -> None:
    """Have the server end when no process has held a lease for the idle time."""
    with (root / "tiled" / "users").open("a+b") as users:
        unused_since: float | None = None
        while True:
            await asyncio.sleep(LOOK_INTERVAL)
            if not (root / "lock").exists():
                break  # the directory was deleted or moved away
            if not lock_file(users):
                unused_since = None
                continue
            unused_since = unused_since or time.monotonic()
            if time.monotonic() - unused_since >= address.idle:
                break  # the lock stays: who comes now waits until this process has ended
            unlock_file(users)
        remove_profiles(root, address)
        remove_address(root)
        server.should_exit = True
        await asyncio.Event().wait()


if __name__ == "__main__":
    main()
