"""Where the runs are: a data directory on this machine, or a Tiled server elsewhere.

Use `TiledStore(directory)` in any number of processes at once, to measure and to read; the first starts
the directory's server. `connect` is for servers elsewhere. The data directory holds `frames/` (HDF5 files
that detectors write), `tiled/` (the server's databases and arrays) and `journal/` (documents not yet safe
in Tiled).
"""

from __future__ import annotations

import atexit
import logging
import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from speckle_plugin.store.connection import limit_retries, open_runs
from speckle_plugin.store.lock import StorageError
from speckle_plugin.store.server.archives import is_archive, refusal, working_copy
from speckle_plugin.store.server.frame_folders import read_frame_folders
from speckle_plugin.store.server.join import Watch, is_used, join, wait_until_ended
from speckle_plugin.store.server.profiles import note_profile

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["Store", "TiledStore", "connect"]

logger = logging.getLogger(__name__)

END_TIMEOUT = 15.0
"""Seconds that closing waits for a server that has no idle time."""


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

    def __init__(
        self,
        runs: CatalogOfBlueskyRuns,
        directory: Path | None,
        closing: ExitStack,
        frame_folders: Sequence[Path] = (),
    ) -> None:
        self.runs = runs
        self._frame_folders = tuple(frame_folders)
        self._archive: Path | None = None
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
    def served_folders(self) -> tuple[Path, ...]:
        """Where frames have to lie so that the server can read them; empty where that is not known."""
        return () if self._directory is None else (self._directory / "frames", *self._frame_folders)

    @property
    def journal_directory(self) -> Path:
        """Where documents wait until they are in Tiled."""
        return self._below("journal")

    @property
    def leases_directory(self) -> Path:
        """Where processes that label stored runs say which they have."""
        return self._below("workers")

    @property
    def is_read_only(self) -> bool:
        """Whether the data directory can't be written, and is open for reading."""
        return self._archive is not None

    def check_writable(self) -> None:
        """See that runs and results can be stored.

        Raises
        ------
        StorageError
            If not; it says what to do.
        """
        if self._archive is not None:
            raise StorageError(refusal(self._archive))

    def _below(self, name: str) -> Path:
        self.check_writable()
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

    def profile_written(self, path: Path, text: str) -> None:
        """See to it that a Tiled profile of this store is removed when its server may be gone."""

        def remove() -> None:
            # Unless another store has taken the name meanwhile.
            if path.exists() and path.read_text(encoding="utf-8") == text:
                path.unlink()

        self.call_at_close(remove)

    def close(self) -> None:
        """Close the connection. Closing again does nothing.

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
        return f"<{type(self).__name__} {self.uri}{' (read only)' if self.is_read_only else ''}>"


class TiledStore(Store):
    """A data directory, with a Tiled server that is reachable from this machine only.

    Any number of processes may open a directory at once. The first one starts the server, in a process
    of its own; it ends when nobody has used it for a while (`SPECKLE_SERVER_IDLE`, 30 seconds). If it is
    killed, it is started again. A directory may be moved or copied while it is not open.

    A directory with runs that can't be written, such as a mounted archive, is opened for reading: its catalog
    and tables are copied into the user's folder of caches, and its frames are read where they are.

    Parameters
    ----------
    directory : path
        The data directory, made if it is not there.
    port : int
        Where the server listens, if this process starts it; 0 for a free one.
    meanwhile : callable, optional
        Called while the server starts, which takes seconds on another core; not if it runs already.
    frame_folders : sequence of path
        Folders beside its own in which detectors write, so that the server may read them. The data directory
        remembers them.

    Raises
    ------
    StorageError
        If there is no right to write in a directory without runs, its file system has no locks, something
        else holds its databases, or the server does not start.
    """

    def __init__(
        self,
        directory: str | os.PathLike[str],
        *,
        port: int = 0,
        meanwhile: Callable[[], object] = lambda: None,
        frame_folders: Sequence[str | os.PathLike[str]] = (),
    ) -> None:
        def import_and_more() -> None:
            _import_client()
            meanwhile()

        directory = Path(directory).expanduser().resolve()
        archive = directory if is_archive(directory) else None
        root = directory if archive is None else working_copy(archive)
        with ExitStack() as closing:
            folders = [Path(folder).expanduser() for folder in frame_folders]
            lease, address = join(root, port, import_and_more, folders)
            if address.idle == 0:
                # Who closes the last one may move or delete the directory then.
                closing.callback(_wait_if_last, root)
            closing.callback(lease.release)
            closing.callback(Watch(root, address).stop)
            runs = open_runs(address.uri, address.api_key, trust_env=False)
            super().__init__(runs, root, closing.pop_all(), read_frame_folders(root))
        self._root, self._archive = root, archive
        if archive is not None:
            logger.warning("the data directory %s can't be written: it is open for reading only", archive)
        # For a script that does not close it. The threads that are then still at work are daemons.
        atexit.register(self.close)
        self.call_at_close(lambda: atexit.unregister(self.close))

    def profile_written(self, path: Path, text: str) -> None:
        """Have the server remove a Tiled profile when it ends: others may use it beyond this process."""
        note_profile(self._root, path)


def connect(
    uri_or_profile: str,
    api_key: str | None = None,
    *,
    directory: str | os.PathLike[str] | None = None,
    frame_folders: Sequence[str | os.PathLike[str]] = (),
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
    frame_folders : sequence of path
        Further folders that the server can read, as its configuration says.

    Raises
    ------
    StorageError
        Within seconds, if there is no such profile, no server answers, or the key is wrong.
    """
    limit_retries()
    uri = uri_or_profile
    if "://" not in uri:
        from tiled.profiles import load_profiles

        load_profiles.cache_clear()  # sessions write theirs at any time
        profiles = load_profiles()
        if uri not in profiles:
            raise StorageError(
                f"there is no Tiled profile {uri!r}, only {sorted(profiles) or 'none at all'}. Give the "
                "address of the server (http://...), or start the session that writes the profile"
            )
        uri = profiles[uri][1]["uri"]
    root = None if directory is None else Path(directory).expanduser().resolve()
    folders = [Path(folder).expanduser() for folder in frame_folders]
    return Store(open_runs(uri, api_key), root, ExitStack(), folders)


def _import_client() -> None:
    """Import what `open_runs` needs, which takes as long as the start of a server."""
    limit_retries()
    import bluesky_tiled_plugins
    import tiled.client.constructors  # noqa: F401

    del bluesky_tiled_plugins


def _wait_if_last(root: Path) -> None:
    if not is_used(root):
        wait_until_ended(root, END_TIMEOUT)
