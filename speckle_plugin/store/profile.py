"""The door for databroker and other processes: a Tiled profile that names an open store.

After `write_profile(store, "speckle")`, any process of the same user reads the runs with
`databroker.catalog["speckle"]`, `tiled.client.from_profile("speckle")` or
`speckle_plugin.store.connect("speckle")`, as long as the store is open.
"""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path
from urllib.parse import quote

from speckle_plugin.store.stores import Store

__all__ = ["write_profile"]


def write_profile(store: Store, name: str = "speckle", folder: str | os.PathLike[str] | None = None) -> Path:
    """Write the Tiled profile of an open store; it is removed when its server ends.

    For a server elsewhere that is when the store closes, since nothing tells when that server ends.
    A profile left by a process that was killed is overwritten by the next.

    Parameters
    ----------
    store : Store
        An open store.
    name : str
        Name of the profile: letters, digits, `_` and `-`.
    folder : path, optional
        Where profiles are; None for where Tiled looks (the environment variable
        `TILED_PROFILES`, or the user's configuration folder).

    Returns
    -------
    Path
        The file. It holds the API key, so only its owner may read it.

    Raises
    ------
    ValueError
        If the name is not fit for a profile.
    """
    import yaml
    from tiled import profiles

    if not re.fullmatch(r"[A-Za-z0-9_-]+", name):
        raise ValueError(f"a profile's name is made of letters, digits, '_' and '-', not {name!r}")
    path = Path(folder or profiles.paths[-1]) / f"{name}.yml"
    path.parent.mkdir(parents=True, exist_ok=True)
    # The schema of profiles has no place for the key but the address.
    key = f"?api_key={quote(store.api_key)}" if store.api_key else ""
    text = yaml.safe_dump({name: {"uri": store.uri + key}})
    # mkstemp makes a file that only its owner may read; the renaming makes it whole at once.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{name}-")
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(temporary, path)
    profiles.load_profiles.cache_clear()

    store.profile_written(path, text)
    return path
