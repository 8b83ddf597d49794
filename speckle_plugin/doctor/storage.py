"""Where runs are kept: the data directory, what is left in it, and the server."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from speckle_plugin.doctor.finding import Finding, broken, fine, note
from speckle_plugin.settings import Settings
from speckle_plugin.shell import command
from speckle_plugin.store.lock import lock_file
from speckle_plugin.store.server.archives import is_archive

__all__ = ["examine_storage"]

LITTLE = 10 << 30
"""Bytes of free space below which it is told."""

TOO_LITTLE = 200 << 20
"""Bytes of free space with which no scan should begin."""


def examine_storage(settings: Settings) -> Iterator[Finding]:
    """Look at the data directory and the server of the settings."""
    data = settings.data
    found = list(_directory(data))
    yield from found
    journals = sorted((data / "journal").glob("*.jsonl"))
    if journals:
        where = ["--data", data, *(["--server", settings.server] if settings.server else [])]
        yield note(
            "journals",
            f"{len(journals)} runs are not whole in Tiled, or still being measured",
            f"when no scan runs: {command('speckle', 'replay', *where)}",
        )
    for folder in settings.frame_folders:
        if not (folder.is_dir() and os.access(folder, os.R_OK | os.X_OK)):
            yield note(
                "frame folders",
                f"{folder} is not there, or may not be read: no frames in it are served",
                "mount it, or correct the setting frame_folders",
            )
    if any(one.remedy and one.level == "BROKEN" for one in found):
        return
    if settings.server is None and not (data / "tiled").is_dir():
        yield fine("server", "will be made with the data directory, by the first session")
        return
    yield _server(settings)


def _directory(data: Path) -> Iterator[Finding]:
    elsewhere = "give another place: SPECKLE_DATA=..., or the setting data"
    existing = data
    try:
        while not existing.exists():
            existing = existing.parent
    except OSError as error:  # no right to look
        yield broken("data directory", f"{data}: {error.strerror}", f"get the right, or {elsewhere}")
        return
    if not existing.is_dir():
        yield broken("data directory", f"{existing} is a file", elsewhere)
        return
    if is_archive(data):
        yield note(
            "data directory",
            f"{data} can't be written: its runs can be read, and none can be measured into it",
            f"to measure, {elsewhere}",
        )
        return
    below = [folder for name in ("frames", "journal", "tiled") if (folder := data / name).exists()]
    for folder in (existing, *below):
        if not os.access(folder, os.W_OK | os.X_OK):
            yield broken(
                "data directory",
                f"no right to write in {folder}",
                f"get it, or {elsewhere}",
            )
            return
    try:
        with tempfile.TemporaryFile(dir=existing) as file:
            lock_file(file)
    except OSError as error:
        yield broken("data directory", f"{existing}: {error}", f"make room, or {elsewhere}")
        return
    free = shutil.disk_usage(existing).free
    room = f"{free / (1 << 30):.1f} GiB free"
    if free < TOO_LITTLE:
        yield broken("data directory", f"{data}: {room}", f"make room, or {elsewhere}")
    elif free < LITTLE:
        yield note("data directory", f"{data}: {room}", "make room before a long scan")
    else:
        yield fine("data directory", f"{data}{'' if data.exists() else ' (not made yet)'}, {room}")


def _server(settings: Settings) -> Finding:
    import httpx

    from speckle_plugin.store import StorageError

    try:
        with settings.open_store() as store:
            number = len(store.runs)
            return fine("server", f"{store.uri} answers and holds {number} runs")
    except (StorageError, ValueError, OSError, httpx.HTTPError) as error:
        return broken(
            "server",
            str(error) or type(error).__name__,
            "start that server, or correct the setting server"
            if settings.server
            else f"do what it says; more is in {settings.data / 'tiled' / 'error.log'}",
        )
