"""A PostgreSQL cluster of the tests' own, and a Tiled server that keeps its catalog and tables in it.

Both are processes of their own in a temporary folder, on the loopback interface, and ask for a secret.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from speckle_plugin.store import Store, connect

__all__ = [
    "find_binaries",
    "free_port",
    "postgres_cluster",
    "process_that_answers",
    "tiled_on_postgres",
]

_PATIENCE = 120
"""Seconds that a process has to answer; one that fails to start is noticed at once."""


def find_binaries() -> Path | None:
    """Give the folder of `initdb` and `postgres`; Debian keeps them out of the PATH."""
    on_path = shutil.which("initdb")
    folders = [Path(on_path).resolve().parent] if on_path else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((f for f in folders if (f / "initdb").exists() and (f / "postgres").exists()), None)


@contextmanager
def postgres_cluster(binaries: Path) -> Iterator[Callable[[str], str]]:
    """Start a fresh cluster, and remove it afterwards.

    PostgreSQL refuses to run as root; started by root, it runs as the unprivileged `nobody`.

    Yields
    ------
    callable
        Makes a database of a name, and gives its URI.
    """
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(
        tempfile.mkdtemp(prefix="speckle-pg-", dir="/tmp")
    )  # short: a socket's path may have 107 bytes
    if user is not None:
        owner = pwd.getpwnam(user)
        os.chown(folder, owner.pw_uid, owner.pw_gid)

    def run(program: str, *arguments: str) -> None:
        command = [str(binaries / program), *arguments]
        done = subprocess.run(command, user=user, cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed: {done.stdout}{done.stderr}")

    try:
        password, port = secrets.token_hex(16), free_port()
        (folder / "password").write_text(password)
        (folder / "password").chmod(0o644)  # in a folder of mode 0700
        authentication = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={folder}/password"]
        run(
            "initdb",
            "-D",
            f"{folder}/data",
            "-U",
            "speckle",
            *authentication,
            "-E",
            "UTF8",
            "--locale=C",
            "-N",
        )
        command = [str(binaries / "postgres"), "-D", f"{folder}/data", "-p", str(port), "-h", "127.0.0.1"]
        command += ["-k", str(folder), "-c", "fsync=off"]
        with (folder / "log").open("wb") as log:
            server = subprocess.Popen(command, user=user, cwd=folder, stdout=log, stderr=log)
        try:
            _wait(server, port, folder / "log")

            def make_database(name: str) -> str:
                run("createdb", "-h", str(folder), "-p", str(port), "-U", "speckle", name)
                # Not by the socket: Tiled (0.2) takes such an address of tables for a file.
                return f"postgresql://speckle:{password}@127.0.0.1:{port}/{name}"

            yield make_database
        finally:
            _end(server)
    finally:
        shutil.rmtree(folder)


@contextmanager
def tiled_on_postgres(make_database: Callable[[str], str], directory: Path) -> Iterator[Store]:
    """Serve an empty catalog whose nodes and tables are in PostgreSQL, and connect to it."""
    frames, arrays = directory / "frames", directory / "arrays"
    for folder in (frames, arrays):
        folder.mkdir(parents=True)
    api_key, port = secrets.token_hex(32), free_port()
    command = [sys.executable, "-m", "tiled", "serve", "catalog", make_database("catalog"), "--init"]
    command += ["-w", str(arrays), "-w", make_database("tables"), "-r", str(frames)]
    command += ["--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "TILED_SINGLE_USER_API_KEY": api_key}
    with (
        process_that_answers(command, port, directory / "tiled.log", environment),
        connect(f"http://127.0.0.1:{port}/api/v1", api_key, directory=directory) as store,
    ):
        yield store


@contextmanager
def process_that_answers(
    command: list[str], port: int, log: Path, environment: Mapping[str, str]
) -> Iterator[None]:
    """Start a server, wait until it answers on its port of the loopback interface, and end it afterwards."""
    with log.open("wb") as output:
        server = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        _wait(server, port, log)
        yield
    finally:
        _end(server)


def free_port() -> int:
    """Give a port of the loopback interface that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _wait(server: subprocess.Popen[bytes], port: int, log: Path) -> None:
    def answers() -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", port)) == 0

    until = time.monotonic() + _PATIENCE
    while not answers():
        if server.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"{server.args!r} does not answer: {log.read_text()}")
        time.sleep(0.1)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    try:
        server.wait(20)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
