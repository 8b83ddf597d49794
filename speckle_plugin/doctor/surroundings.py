"""What some uses need beside the package: Redis for the queue server, a display for figures."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator

from speckle_plugin.doctor.finding import Finding, fine, note
from speckle_plugin.settings import OTHER_VARIABLES, PREFIX, Settings

__all__ = ["examine_surroundings"]

REDIS = ("127.0.0.1", 6379)


def examine_surroundings() -> Iterator[Finding]:
    """Look for Redis and a display, and for variables of the environment that nothing reads."""
    known = OTHER_VARIABLES.keys() | {PREFIX + name.upper() for name in Settings.model_fields}
    unknown = sorted(name for name in os.environ if name.startswith(PREFIX) and name not in known)
    if unknown:
        yield note(
            "environment",
            f"nothing reads {', '.join(unknown)}",
            f"the variables are {', '.join(sorted(known))}",
        )
    if _redis_answers():
        yield fine("Redis", f"answers at {REDIS[0]}:{REDIS[1]}")
    else:
        yield note(
            "Redis",
            f"does not answer at {REDIS[0]}:{REDIS[1]}",
            "only the queue server needs it: apt-get install redis-server",
        )
    if sys.platform.startswith("linux") and not (
        os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")
    ):
        yield note(
            "display",
            "none, so figures can be saved, not shown",
            "for live figures: log in with ssh -X, or work at the machine itself",
        )
    else:
        yield fine("display", os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY") or sys.platform)


def _redis_answers() -> bool:
    try:
        with socket.create_connection(REDIS, timeout=1.0) as connection:
            connection.settimeout(1.0)
            connection.sendall(b"PING\r\n")
            # One that asks for a password answers by an error, and is there.
            return connection.recv(64).startswith((b"+PONG", b"-NOAUTH"))
    except OSError:
        return False
