"""What Tiled calls a data directory: directories that move, and paths that are no addresses.

Tiled notes its files by their whole path, in addresses that it neither quotes nor unquotes. So a
directory that was moved would lose its frames, and one with `#` in its path could not be opened.
`Location.open` has the catalog follow a move, and gives a path with such characters another name, a link,
while the server runs.
"""

from __future__ import annotations

import json
import os
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self
from urllib.parse import quote, unquote

__all__ = ["Location"]

FILES = ("file://localhost", "file://")
TABLES = "duckdb://localhost/"

ODD = frozenset("#%;")
"""Characters that cannot be told from the parts of an address."""


@dataclass(frozen=True)
class Location:
    """Where a data directory is, and by which name its server knows it.

    Attributes
    ----------
    root : Path
        The directory.
    name : Path
        Another path of the same directory, fit for addresses.
    former : tuple of str
        Where the directory has been: journals call its files so.
    """

    root: Path
    name: Path
    former: tuple[str, ...] = ()

    @classmethod
    def open(cls, root: Path) -> Self:
        """Find a name for a directory, and have its catalog follow if it was moved.

        Parameters
        ----------
        root : Path
            Resolved.
        """
        from speckle_plugin.store.server.upstream.moved_files import former_roots, rename_files

        name = root if not ODD & set(str(root)) else _link_to(root)
        catalog, note = root / "tiled" / "catalog.db", root / "tiled" / "location.json"
        known = _read(note) or {"known": [[former, former] for former in former_roots(catalog)]}
        now = [str(root), str(name)]
        if now not in known["known"][-1:]:
            for before in known["known"][-1:] if note.exists() else known["known"]:
                rename_files(catalog, _changes(before, now))
            known["known"] = [*(one for one in known["known"] if one[0] != str(root)), now]
            note.write_text(json.dumps(known), encoding="utf-8")
        return cls(root, name, tuple(former for former, _ in known["known"][:-1]))

    def close(self) -> None:
        """Remove the other name."""
        if self.name != self.root:
            self.name.unlink(missing_ok=True)
            with suppress(OSError):
                self.name.parent.rmdir()

    def reach(self, uri: str) -> str:
        """Give the address that Tiled understands, of a file that a client calls by another one."""
        for start in ("file://localhost/", "file:///"):
            if uri.startswith(start):
                path = "/" + uri.removeprefix(start)
                break
        else:
            return uri
        if self.name == self.root and path.startswith(f"{self.root}/"):
            return uri
        for said in (path, unquote(path)):
            for place in (str(self.root), *self.former):
                below = said.removeprefix(place)
                if said.startswith(f"{place}/") and os.path.exists(f"{self.root}{below}"):
                    return f"file://localhost{self.name}{below}"
        return uri


def _link_to(root: Path) -> Path:
    link = Path(tempfile.mkdtemp(prefix="speckle-")) / "data"  # a folder that nobody else may write to
    link.symlink_to(root, target_is_directory=True)
    return link


def _read(note: Path) -> dict[str, list[list[str]]] | None:
    """Read the places that the directory was at, root and name, the last one last."""
    with suppress(OSError, ValueError):
        known: dict[str, list[list[str]]] = json.loads(note.read_text(encoding="utf-8"))
        return known
    return None


def _changes(before: list[str], now: list[str]) -> dict[str, str]:
    """Give the beginnings of addresses below a directory (root and name) before and now."""
    (old_root, old_name), (_, name) = before, now
    old = [
        f"{start}{path}/" for start in FILES for path in dict.fromkeys((old_name, old_root, quote(old_root)))
    ]
    changes = {former: f"{FILES[0]}{name}/" for former in old} | {f"{TABLES}{old_name}/": f"{TABLES}{name}/"}
    return {former: renamed for former, renamed in changes.items() if former != renamed}
