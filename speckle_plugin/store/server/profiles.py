"""Which Tiled profiles name the server of a data directory: it removes them when it ends.

A profile of a server that has ended must not stay, since its port may soon be another program's.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from speckle_plugin.store.server.address import Address

__all__ = ["note_profile", "remove_profiles"]


def _note(root: Path) -> Path:
    return root / "tiled" / "profiles"


def note_profile(root: Path, profile: Path) -> None:
    """Note a profile that was written for the server of a data directory."""
    with _note(root).open("a", encoding="utf-8") as file:
        file.write(f"{profile.resolve()}\n")


def remove_profiles(root: Path, address: Address) -> None:
    """Remove the profiles that name this server, and leave those that another one has taken."""
    with suppress(OSError):
        for line in dict.fromkeys(_note(root).read_text(encoding="utf-8").splitlines()):
            with suppress(OSError):
                text = Path(line).read_text(encoding="utf-8")
                if f"127.0.0.1:{address.port}/" in text and address.api_key in text:
                    Path(line).unlink()
        _note(root).unlink()
