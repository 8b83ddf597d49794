"""Where the server of a data directory is, for the processes that join it: a file that only its owner reads.

The file stays behind when a server is killed, so that the next one takes the same port and key, and
clients that are open go on. A server that ends by itself removes it.
"""

from __future__ import annotations

import json
import os
import socket
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Address", "read_address", "remove_address", "write_address"]


@dataclass(frozen=True)
class Address:
    """A server, and what its clients need to know.

    Attributes
    ----------
    port : int
        On the loopback interface.
    api_key : str
        Secret that gives the right to read and write. Never log it.
    pid, host, version : int, str, str
        The process, and its version of the plugin.
    root : str
        The data directory, as it was called when the server started.
    idle : float
        Seconds that the server stays after its last user has left.
    """

    port: int
    api_key: str
    pid: int
    host: str
    version: str
    root: str
    idle: float

    @property
    def uri(self) -> str:
        """Where clients connect to, without the key."""
        return f"http://127.0.0.1:{self.port}/api/v1"

    def __repr__(self) -> str:
        """Show all but the key."""
        return f"<Address {self.uri} of process {self.pid}>"

    def is_here(self) -> bool:
        """Tell whether the server is on this machine."""
        return self.host == socket.gethostname()


def _path(root: Path) -> Path:
    return root / "tiled" / "server.json"


def read_address(root: Path) -> Address | None:
    """Read the address that the last server of a data directory left, which may be gone; or None."""
    with suppress(OSError, ValueError, TypeError):
        return Address(**json.loads(_path(root).read_text(encoding="utf-8")))
    return None


def write_address(root: Path, address: Address) -> None:
    """Write the address, whole at once, for nobody but the owner."""
    path = _path(root)
    # mkstemp makes a file that only its owner may read.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".server-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(asdict(address), file)
    os.replace(temporary, path)


def remove_address(root: Path) -> None:
    """Remove the address of a server that ends."""
    _path(root).unlink(missing_ok=True)
