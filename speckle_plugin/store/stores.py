"""Where the runs are: an embedded Tiled server on a data directory, or one elsewhere.

Use `TiledStore(directory)` in the one process that measures, and `connect` in every other
one. The data directory holds `frames/` (HDF5 files that detectors write), `tiled/` (the
server's databases and arrays) and `journal/` (documents not yet safe in Tiled).
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from speckle_plugin.store.connection import limit_retries, open_runs
from speckle_plugin.store.lock import DirectoryLock, StorageError
from speckle_plugin.store.server.embedded import keep_out_of_collections, start_server

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["Store", "TiledStore", "connect"]


class Store:
    """A catalog of runs and the directories that belong to it.

    Attributes
    ----------
    runs : CatalogOfBlueskyRuns
        The client of the runs.
    uri : str
        Address of the runs, without the API key.
    api_key : str or None
        The secret that gives the right to read and write. Never log it.
    """

    def __init__(self, runs: CatalogOfBlueskyRuns, directory: Path | None, closing: ExitStack) -> None:
        self.runs = runs
        self.uri: str = runs.uri
        self.api_key: str | None = runs.context.api_key
        self._directory = directory
        self._closing = closing
        self._process = os.getpid()
        closing.callback(runs.context.http_client.close)

    @property
    def web_url(self) -> str:
        """Address of the server's web pages, with the API key: open it, never log it."""
        parts = urlsplit(self.uri)
        key = f"?api_key={self.api_key}" if self.api_key else ""
        return f"{parts.scheme}://{parts.netloc}/{key}"

    @property
    def frames_directory(self) -> Path:
        """Where detectors write frames, so that the server may read them."""
        return self._below("frames")

    @property
    def served_folder(self) -> Path | None:
        """Where frames have to lie so that the server can read them; None where that is not known."""
        return None if self._directory is None else self._directory / "frames"

    @property
    def journal_directory(self) -> Path:
        """Where documents wait until they are in Tiled."""
        return self._below("journal")

    def _below(self, name: str) -> Path:
        if self._directory is None:
            raise StorageError(
                f"this connection has no {name} directory: give connect(..., directory=...) the data "
                "directory whose frames folder the server may read"
            )
        path = self._directory / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def call_at_close(self, function: Callable[[], object]) -> None:
        """Have something undone when the store closes, last come first."""
        self._closing.callback(function)

    def close(self) -> None:
        """Close the connection, and the server if it is embedded. Closing again does nothing.

        In a forked copy of the process it does nothing either: Python calls it at the end of those
        that `multiprocessing` makes, and what it closes belongs to the original.
        """
        if os.getpid() == self._process:
            self._closing.close()

    def __enter__(self) -> Self:
        """Give the store itself; leaving the block closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the store."""
        self.close()

    def __repr__(self) -> str:
        """Show the address, without the key."""
        return f"<{type(self).__name__} {self.uri}>"


class TiledStore(Store):
    """An embedded Tiled server, reachable from this machine only, on a data directory.

    What was stored is there again when the directory is opened anew. The API key and the
    port are fresh each time; `write_profile` hands them to other processes of the user.

    Parameters
    ----------
    directory : path
        The data directory, made if it is not there. One process at a time may open it.
    port : int
        0 for a free one.

    Raises
    ------
    StorageError
        If another process holds the directory.
    """

    def __init__(self, directory: str | os.PathLike[str], *, port: int = 0) -> None:
        root = Path(directory).expanduser().resolve()
        frames, tiled = root / "frames", root / "tiled"
        for folder in (frames, root / "journal"):
            folder.mkdir(parents=True, exist_ok=True)
        # The server's access log may hold keys that a browser sent in an address.
        tiled.mkdir(mode=0o700, exist_ok=True)
        api_key = secrets.token_hex(32)
        with ExitStack() as closing:
            closing.callback(DirectoryLock(root).release)
            server = start_server(tiled, readable=frames, api_key=api_key, port=port)
            closing.callback(server.close)
            runs = open_runs(f"http://127.0.0.1:{server.port}/api/v1", api_key, trust_env=False)
            closing.callback(keep_out_of_collections())
            super().__init__(runs, root, closing.pop_all())
        _close_before_threads_are_joined(self)


def connect(
    uri_or_profile: str,
    api_key: str | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
) -> Store:
    """Connect to a Tiled server that runs elsewhere, or in another process.

    Parameters
    ----------
    uri_or_profile : str
        The address of the server or of a catalog of runs on it, or the name of a Tiled
        profile that holds one.
    api_key : str, optional
        None for the profile's, or that of the environment variable `TILED_API_KEY`.
    directory : path, optional
        The data directory for frames and journal. Needed to measure, not to read; the
        server must be able to read its `frames` folder under the same path.

    Raises
    ------
    StorageError
        Within seconds, if there is no such profile, no server answers, or the key is wrong.
    """
    limit_retries()
    uri = uri_or_profile
    if "://" not in uri:
        from tiled.profiles import load_profiles

        load_profiles.cache_clear()  # embedded servers write theirs at any time
        profiles = load_profiles()
        if uri not in profiles:
            raise StorageError(
                f"there is no Tiled profile {uri!r}, only {sorted(profiles) or 'none at all'}. Give the "
                "address of the server (http://...), or start the session that writes the profile"
            )
        uri = profiles[uri][1]["uri"]
    root = None if directory is None else Path(directory).expanduser().resolve()
    return Store(open_runs(uri, api_key), root, ExitStack())


def _close_before_threads_are_joined(store: TiledStore) -> None:
    """Close a store that is still open when the interpreter ends.

    The server's thread is not a daemon, and the interpreter waits for such threads before
    it runs the functions of `atexit`: a script that raised would hang there forever.
    `threading` has a hook of its own that runs first (concurrent.futures and Tiled's own
    client use it as well).
    """
    threading._register_atexit(store.close)  # type: ignore[attr-defined]
