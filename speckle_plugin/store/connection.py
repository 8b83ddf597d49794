"""Clients of a Tiled server: how long they try, and which container holds the runs.

Use `open_runs` for the catalog of runs on any server.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from speckle_plugin.store.hidden_keys import hide_keys_in_logs
from speckle_plugin.store.lock import StorageError

if TYPE_CHECKING:
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns

__all__ = ["RUNS", "limit_retries", "open_runs"]

RUNS = "runs"
"""Key of the container of runs below the root of the server."""

_RETRIES = {"TILED_RETRY_ATTEMPTS": 2, "TILED_RETRY_TIMEOUT": 2.0}
"""Tiled's own limits (10 attempts, 45 s) would stop a scan for more than a minute when the
server is gone; with these the end of a run waits two seconds at most. The journal makes
patience needless: what cannot be written is replayed."""

_PROBE_TIMEOUT = 10.0
"""Seconds that a server has for its first answer."""


def limit_retries() -> None:
    """Make Tiled's clients in this process give up sooner, unless the user set the limits.

    Tiled reads `TILED_RETRY_ATTEMPTS` and `TILED_RETRY_TIMEOUT` when it is imported: where that has
    happened before, its own limits stay.
    """
    for name, value in _RETRIES.items():
        os.environ.setdefault(name, str(value))


def open_runs(uri: str, api_key: str | None = None, *, trust_env: bool = True) -> CatalogOfBlueskyRuns:
    """Open the catalog of runs of a running server; it is created on first use.

    Parameters
    ----------
    uri : str
        The root of the server, or a catalog of runs below it.
    api_key : str, optional
        None for the one in the URI (`?api_key=...`), or else that in `TILED_API_KEY`.
    trust_env : bool
        Whether to go through the proxies that the environment names.

    Raises
    ------
    StorageError
        If no server answers, it rejects the key, or what is there holds no runs.
    """
    limit_retries()
    hide_keys_in_logs()
    import httpx
    from bluesky_tiled_plugins import CatalogOfBlueskyRuns
    from tiled.client.constructors import from_context
    from tiled.client.context import Context

    try:
        address = httpx.URL(uri)
    except httpx.InvalidURL as error:
        raise StorageError(
            "expected the address of a Tiled server, such as https://tiled.facility.org, "
            f"not {uri.partition('?')[0]!r}: {error}"
        ) from error
    api_key = api_key or address.params.get("api_key")
    bare = str(address.copy_with(query=None))  # for messages: without the key
    try:
        # A plain request first, since Tiled's client retries for long.
        httpx.get(bare, timeout=_PROBE_TIMEOUT, trust_env=trust_env)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise StorageError(
            f"no Tiled server answers at {bare} ({error or type(error).__name__}). Start it, or correct the "
            "address; the server of a data directory ends when nobody uses it"
        ) from error
    context = None
    try:
        context, path = Context.from_any_uri(bare, api_key=api_key, trust_env=trust_env)
        client = from_context(context, node_path_parts=path)
        if not isinstance(client, CatalogOfBlueskyRuns):
            client = _container_of_runs(client)
        if not isinstance(client, CatalogOfBlueskyRuns):
            raise TypeError(f"{RUNS!r} is a {type(client).__name__}, not of spec CatalogOfBlueskyRuns")
    except (httpx.HTTPError, RuntimeError, KeyError, TypeError, AttributeError) as error:
        if context is not None:
            context.http_client.close()
        raise StorageError(
            f"the Tiled server at {bare} does not give its runs: {error}. Is the address that of the server "
            "or of a catalog of runs, is the API key right (argument api_key, or the environment variable "
            "TILED_API_KEY), and may it write?"
        ) from error
    return client


def _container_of_runs(root: Any) -> Any:
    from tiled.client.utils import ClientError
    from tiled.structures.core import Spec

    if RUNS not in root:
        try:
            root.create_container(RUNS, specs=[Spec("CatalogOfBlueskyRuns", version="3.0")])
        except ClientError as error:
            if error.response.status_code != 409:  # another process made it just now
                raise
    return root[RUNS]
