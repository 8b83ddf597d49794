"""Finding the server of a data directory, or starting it: any number of processes share one.

`join` is for processes that use the directory. `Watch` starts a server anew that was killed while
somebody uses it, on the same port and with the same key, so that open clients go on.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import site
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import speckle_plugin
from speckle_plugin.store.lock import Lease, StorageError, is_held, lock_file, read_owner
from speckle_plugin.store.server.address import Address, read_address
from speckle_plugin.store.server.frame_folders import note_frame_folders

__all__ = [
    "IDLE",
    "Watch",
    "find_or_start",
    "idle_setting",
    "is_used",
    "join",
    "server_command",
    "wait_until_ended",
]

logger = logging.getLogger(__name__)

IDLE = 30.0
"""Seconds that a server stays after its last user has left, so that commands one after the other find it."""

START_TIMEOUT = 60.0
"""Seconds that a server has to start, also on a busy machine."""

GRACE = 3.0
"""Seconds until an owner without an address counts as one of a version before 0.2."""

WATCH_INTERVAL = 1.0
"""Seconds between looking whether the server is still there."""


def idle_setting() -> float:
    """Give the idle time: `SPECKLE_SERVER_IDLE` in seconds, or the default.

    Raises
    ------
    ValueError
        If it is not a number from 0 on.
    """
    text = os.environ.get("SPECKLE_SERVER_IDLE", "")
    try:
        idle = float(text or IDLE)
    except ValueError:
        idle = -1.0
    if not 0 <= idle < float("inf"):
        raise ValueError(
            f"SPECKLE_SERVER_IDLE is {text!r}: give the seconds that a server stays unused, 0 or more"
        )
    return idle


def join(
    root: Path,
    port: int = 0,
    meanwhile: Callable[[], object] = lambda: None,
    frame_folders: Sequence[Path] = (),
) -> tuple[Lease, Address]:
    """Become a user of a data directory.

    Parameters
    ----------
    root : Path
        The directory, resolved; it is made if it is not there.
    port : int
        Where the server is to listen if this process starts it; 0 for a free one.
    meanwhile : callable
        Called while a server starts, to do something useful.
    frame_folders : sequence of Path
        Folders beside `frames` whose frames the server is to read.

    Returns
    -------
    Lease, Address
        The server stays as long as somebody has a lease.

    Raises
    ------
    StorageError
        If there is no right to write, no locks, the directory is held by something else, or
        the server does not start.
    """
    _make_folders(root)
    lease = Lease(root / "tiled" / "users")
    try:
        note_frame_folders(root, frame_folders)
        return lease, find_or_start(root, port, meanwhile)
    except BaseException:
        lease.release()
        raise


def _make_folders(root: Path) -> None:
    if "?" in str(root):
        # DuckDB (1.5) resolves links, and looks for its log at a path that is cut there.
        raise StorageError(
            f"the path {root} has a question mark, below which the database of tables can't write: rename "
            "that folder"
        )
    try:
        for folder in (root / "frames", root / "journal"):
            folder.mkdir(parents=True, exist_ok=True)
        # Logs and addresses are for nobody else.
        (root / "tiled").mkdir(mode=0o700, exist_ok=True)
        (root / "tiled" / "users").touch()
        for path in (root, root / "tiled"):
            if not os.access(path, os.W_OK | os.X_OK):
                raise PermissionError(13, "Permission denied", str(path))
    except OSError as error:
        raise StorageError(
            f"the data directory {root} can't be written ({error.strerror or error}), and holds no runs that "
            "could be read: get the rights, or choose another place"
        ) from error


def find_or_start(root: Path, port: int = 0, meanwhile: Callable[[], object] = lambda: None) -> Address:
    """Give the address of the server of a directory, starting one if there is none. Only for who has a lease.

    Raises
    ------
    StorageError
        As `join`.
    """
    begun = time.monotonic()
    while True:
        if is_held(root):
            address = _running(root, time.monotonic() - begun)
            if address is not None:
                return address
        else:
            # One starts it, the others wait for it here.
            with (root / "tiled" / "starting").open("a+b") as starting:
                if lock_file(starting) and not is_held(root):
                    return _start(root, port, meanwhile)
        if time.monotonic() - begun > START_TIMEOUT:
            raise StorageError(
                f"another process starts a server on {root}, and does not come to an end within "
                f"{START_TIMEOUT:.0f} s: look into {root / 'tiled' / 'error.log'}"
            )
        time.sleep(0.05)


def _running(root: Path, waited: float) -> Address | None:
    """Give the address of the process that holds the directory, if it has written one."""
    address, owner = read_address(root), read_owner(root)
    if owner is None:
        return None
    if address is not None and (address.pid, address.host) == (owner.pid, owner.host):
        if not address.is_here():
            raise StorageError(
                f"the data directory {root} is served by {owner}, another machine: work there, or reach its "
                f"server from here by a tunnel (ssh -L {address.port}:127.0.0.1:{address.port} {owner.host})"
            )
        return address
    if waited > GRACE and owner.version is None:
        raise StorageError(
            f"the data directory {root} is open in {owner}, by an older version of this package, which lets "
            "nobody join: end that process"
        )
    return None


def server_command(root: Path, port: int) -> list[str]:
    """Give the command that starts the server of a data directory."""
    # -P: what lies in the working directory must not be imported in the place of a library.
    command = [sys.executable, "-P", "-m", "speckle_plugin.store.server.process", str(root)]
    command += ["--port", str(port), "--idle", str(idle_setting())]
    if without := os.environ.get("SPECKLE_SERVER_WITHOUT"):  # benchmarks/server_process.py measures so
        command += ["--without", without]
    return command


def _start(root: Path, port: int, meanwhile: Callable[[], object]) -> Address:
    with (root / "tiled" / "error.log").open("ab") as errors:
        started = subprocess.Popen(
            server_command(root, port),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            cwd=root,
            env=_environment(),
            start_new_session=True,  # Ctrl-C is for the user's process
        )
    with started:
        meanwhile()
        said = _first_line(started, root)
    if "error" in said:
        raise StorageError(f"the Tiled server did not start on {root}: {said['error']}")
    address = read_address(root)
    if address is None:
        raise StorageError(f"the Tiled server of {root} ended as soon as it had started: see its error.log")
    return address


def _environment() -> dict[str, str]:
    """Have the server import the package from where this process did."""
    here = str(Path(speckle_plugin.__file__).parents[1])
    if here in (*site.getsitepackages(), site.getusersitepackages()):
        return dict(os.environ)
    return os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [here, os.environ.get("PYTHONPATH")]))}


def _first_line(started: subprocess.Popen[bytes], root: Path) -> dict[str, str]:
    """Wait for what the server says of its start."""
    if started.stdout is None:
        raise RuntimeError("the server's output is not a pipe")
    hung = threading.Timer(START_TIMEOUT, _end, (root,))
    hung.start()
    try:
        line = started.stdout.readline()
    finally:
        hung.cancel()
    if not line:
        return {"error": f"it ended without a word; its messages are in {root / 'tiled' / 'error.log'}"}
    said: dict[str, str] = json.loads(line)
    return said


def _end(root: Path) -> None:
    """Kill a server that does not come up."""
    owner = read_owner(root)
    if owner is not None and is_held(root):
        os.kill(owner.pid, signal.SIGKILL)


def wait_until_ended(root: Path, timeout: float) -> bool:
    """Wait for the server of a directory to end; tell whether it has."""
    end = time.monotonic() + timeout
    while is_held(root):
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def is_used(root: Path) -> bool:
    """Tell whether any process has a lease of a directory."""
    with (root / "tiled" / "users").open("a+b") as users:
        return not lock_file(users)


class Watch:
    """Starts the server of a directory anew when it was killed, until `stop`.

    Parameters
    ----------
    root : Path
        The directory, of which this process has a lease.
    address : Address
        The server that the clients of this process talk to.
    """

    def __init__(self, root: Path, address: Address) -> None:
        self._root, self._address = root, address
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="speckle-server-watch", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Leave the server alone from now on."""
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        failed = ""
        while not self._stopped.wait(WATCH_INTERVAL):
            try:
                if is_held(self._root):
                    continue
                logger.warning("the Tiled server of %s has ended; it is started again", self._root)
                address = find_or_start(self._root)
            except (OSError, ValueError) as error:  # the directory is gone, the disk full: try again
                if str(error) != failed:
                    failed = str(error)
                    logger.error("the Tiled server of %s can't be started again: %s", self._root, error)
                continue
            failed = ""
            if (address.uri, address.api_key) != (self._address.uri, self._address.api_key):
                logger.error(
                    "the Tiled server of %s is at another address now, since another program has its port. "
                    "Runs go to journals here: open the data directory again to go on",
                    self._root,
                )
                self._address = address
