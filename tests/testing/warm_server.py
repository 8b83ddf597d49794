"""Servers of data directories that start at once: copies of a process that has imported Tiled already.

Importing Tiled's server takes three seconds of processor, and the tests start more than a hundred servers.
Here one process imports it and waits; where a server is wanted it forks, and the copy runs what
`python -m speckle_plugin.store.server.process` runs. `server_command` gives the command that asks for it.
Servers that are started by other programs, such as IPython in a process of its own, start as for a user.
"""

from __future__ import annotations

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

Command = Callable[[Path, int], list[str]]

ASK = """
import json, os, socket, sys
asking = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
asking.connect(sys.argv[1])
message = {"arguments": sys.argv[2:], "directory": os.getcwd(), "environment": dict(os.environ)}
socket.send_fds(asking, [json.dumps(message).encode()], [1, 2])
"""


class WarmServer:
    """Starts the process at the first request; `close` ends it, as does the end of this process.

    Parameters
    ----------
    cold : callable
        Gives the command that starts a server as for a user.
    """

    def __init__(self, cold: Command) -> None:
        self._cold = cold
        self._folder = tempfile.TemporaryDirectory(prefix="speckle-warm-")
        self._path = Path(self._folder.name) / "socket"
        self._process: subprocess.Popen[bytes] | None = None

    def server_command(self, root: Path, port: int) -> list[str]:
        """Give the command that has a copy serve a directory, with the arguments of the usual one."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", "tests.testing.warm_server", str(self._path)]
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
            )
            assert self._process.stdout is not None
            assert self._process.stdout.readline() == b"ready\n"
        usual = self._cold(root, port)
        arguments = usual[usual.index("speckle_plugin.store.server.process") + 1 :]
        return [sys.executable, "-I", "-S", "-c", ASK, str(self._path), *arguments]

    def close(self) -> None:
        """End the process; servers that it started go on."""
        if self._process is not None:
            self._process.communicate(timeout=10)
        self._folder.cleanup()


def _wait_and_fork(path: str) -> None:
    import speckle_plugin.store.server.application
    from speckle_plugin.store.server import process

    assert speckle_plugin.store.server.application.make_application is not None
    process.LOOK_INTERVAL = 0.05  # tests wait for the end of each
    gc.freeze()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listening.bind(path)
    listening.listen()
    print("ready", flush=True)
    while True:
        ready, _, _ = select.select([0, listening.fileno()], [], [])
        if 0 in ready:  # the tests have ended
            return
        asking, _ = listening.accept()
        message, descriptors, *_ = socket.recv_fds(asking, 1 << 20, 2)
        asking.close()
        if message and os.fork() == 0:
            listening.close()
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            nothing = os.open(os.devnull, os.O_RDONLY)
            for source, target in zip([nothing, *descriptors], (0, 1, 2), strict=True):
                os.dup2(source, target)
                os.close(source)
            wanted = json.loads(message)
            os.chdir(wanted["directory"])
            os.environ.clear()
            os.environ.update(wanted["environment"])
            sys.argv = ["server", *wanted["arguments"]]
            process.main()
        for descriptor in descriptors:
            os.close(descriptor)


if __name__ == "__main__":
    _wait_and_fork(sys.argv[1])
