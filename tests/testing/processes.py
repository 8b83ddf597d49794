"""Processes that this one started."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

__all__ = ["niceness_of_session", "solving_processes", "without_rights_of_root"]


def niceness_of_session(process: int) -> int | None:
    """Give the niceness of all processes of a session together; None where the kernel knows of none.

    It shares the processors among sessions first, and looks only then at the priority of a thread.
    """
    path = Path(f"/proc/{process}/autogroup")
    said = path.read_text().split() if path.exists() else []  # nothing of the first session of a machine
    return int(said[-1]) if said else None


def solving_processes() -> list[int]:
    """Give the ids of the processes that solve frames for this one."""
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "solving.worker" in line]


def without_rights_of_root(command: Sequence[str]) -> list[str]:
    """Give a command that may read and write files only as their modes say, whoever starts it.

    Root's right to all files is taken away by setpriv; where that is not there, the test is skipped.
    """
    if os.geteuid() != 0:
        return list(command)
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("root may use every file, and setpriv (util-linux) is not here to take that right away")
    return [setpriv, "--bounding-set=-dac_override,-dac_read_search", *command]
