"""Processes that this one started."""

from __future__ import annotations

import os
import subprocess

__all__ = ["solving_processes"]


def solving_processes() -> list[int]:
    """Give the ids of the processes that solve frames for this one."""
    listed = subprocess.run(
        ["ps", "--ppid", str(os.getpid()), "-o", "pid=,args="], capture_output=True, text=True, check=False
    )
    return [int(line.split()[0]) for line in listed.stdout.splitlines() if "solving.worker" in line]
