"""File systems as tests want them: full, or read-only."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

__all__ = ["mounted", "mounted_read_only"]


@contextmanager
def mounted(folder: Path, options: str) -> Iterator[None]:
    """Mount a file system in memory at a folder, in a block; skips the test where there is no right to."""
    mount = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)]
    try:
        done = subprocess.run(mount, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("a file system of its own needs the command mount")
    if done.returncode:
        pytest.skip(f"a file system of its own needs the right to mount one: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@contextmanager
def mounted_read_only(folder: Path, place: Path) -> Iterator[None]:
    """Show a folder at another place, where it can't be written; skips the test without the right to."""
    commands = (["mount", "--bind", str(folder), str(place)], ["mount", "-o", "remount,bind,ro", str(place)])
    try:
        for command in commands:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                pytest.skip(f"a read-only mount needs the right to make one: {done.stderr.strip()}")
        yield
    except FileNotFoundError:
        pytest.skip("a read-only mount needs the command mount")
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=False)
