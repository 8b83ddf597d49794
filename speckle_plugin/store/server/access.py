"""What the server of a data directory answers: nothing without its key, no file outside of its folders.

Tiled (0.2.20) has gaps here. Its zarr routes give all frames and its GraphQL route its
schema without a key; a client that has the key can register and then read files anywhere on
the machine (`..` in an address, an asset of no parameter, a symbolic link, a download of
the raw file), and can have folders anywhere deleted. The adapters and middleware here close them.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

import functools
import itertools
import json
import os
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fastapi import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from tiled.structures.core import StructureFamily
from tiled.utils import path_from_uri

from speckle_plugin.store.server.request_body import given_again
from speckle_plugin.store.server.unreadable import ReadWithReasons, with_reasons

__all__ = ["AllowedFiles", "KeyRequired", "RefuseWrites", "RegisteredFiles", "guarded_adapters"]

WITHOUT_KEY = frozenset({"/healthz", "/api/v1", "/api/v1/"})
"""Paths that answer anybody: whether the server is ready, and its version and formats, which
Tiled's clients ask for before they show their key. Neither tells of runs or folders."""


class KeyRequired:
    """Middleware that answers 401 to each request without the key, whatever route it is for.

    The key may be in the header `Authorization: Apikey ...`, in the address
    (`?api_key=...`) or in Tiled's cookie, as Tiled itself takes it.
    """

    def __init__(self, app: ASGIApp, api_key: str) -> None:
        self._app, self._api_key = app, api_key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] in ("http", "websocket") and scope["path"] not in WITHOUT_KEY:
            request = HTTPConnection(scope)
            if not any(secrets.compare_digest(key.encode(), self._api_key) for key in _keys(request)):
                if scope["type"] == "websocket":
                    await send({"type": "websocket.close", "code": 1008})
                    return
                detail = "this server answers nothing without its API key, or with a wrong one"
                await JSONResponse({"detail": detail}, status_code=401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _keys(request: HTTPConnection) -> Iterator[str]:
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "apikey":
        yield key.strip()
    yield from request.query_params.getlist("api_key")
    if "tiled_api_key" in request.cookies:
        yield request.cookies["tiled_api_key"]


READ_BY_POST = ("/table/full", "/table/partition", "/container/full", "/awkward/buffers")
"""Routes of Tiled that read, where a request has more to say than finds room in an address."""


class RefuseWrites:
    """Middleware that answers 403 to each request that would change something.

    Parameters
    ----------
    app : ASGIApp
    reason : str
    """

    def __init__(self, app: ASGIApp, reason: str) -> None:
        self._app, self._reason = app, reason

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] == "http":
            reads_by_post = scope["method"] == "POST" and any(part in scope["path"] for part in READ_BY_POST)
            if scope["method"] not in ("GET", "HEAD", "OPTIONS") and not reads_by_post:
                await JSONResponse({"detail": self._reason}, status_code=403)(scope, receive, send)
                return
        await self._app(scope, receive, send)


class AllowedFiles:
    """Tells which files and tables a client may name.

    Parameters
    ----------
    folders : sequence of Path
        Where files may be.
    databases : sequence of str
        Addresses of the databases whose tables may be named.
    """

    def __init__(self, folders: Sequence[Path], databases: Sequence[str]) -> None:
        self._folders = [os.path.join(folder.resolve(), "") for folder in folders]
        self._databases = databases

    def check(self, uris: Iterable[str], parameters: Mapping[str, Any]) -> None:
        """Check the files of a data source, and the parameters that its reader will get.

        Raises
        ------
        HTTPException
            403, if one is elsewhere, itself or by a link.
        """
        known: dict[str, bool] = {}  # a stream has thousands of files in one folder
        for uri in itertools.chain(uris, *map(_uris_in, parameters.values())):
            if not self._allows(uri, known):
                raise self.refusal(uri)
        table = parameters.get("table_name", "table")
        if not re.fullmatch(r"[a-z][a-z0-9_]*", str(table)):  # DuckDB takes "a.csv" for a file
            raise HTTPException(403, f"{table!r} is not the name of a table of this server")

    def refusal(self, uri: str) -> HTTPException:
        """Give the error for a file that is elsewhere."""
        return HTTPException(
            403,
            f"{uri} is outside of the folders that this server may use, itself or by a link: have the "
            "detector write below them, or name its folder in the setting frame_folders, and open the data "
            f"directory again when its server has ended. It may use {', '.join(self._folders)}",
        )

    def _allows(self, uri: str, known: dict[str, bool]) -> bool:
        if urlsplit(uri).scheme != "file":
            return uri in self._databases
        path = str(path_from_uri(uri))
        parent, name = os.path.split(path)
        if name in ("", "..") or os.path.islink(path):
            return self._inside(path)
        if parent not in known:
            known[parent] = self._inside(parent)
        return known[parent]

    def _inside(self, path: str) -> bool:
        return os.path.join(os.path.realpath(path), "").startswith(tuple(self._folders))


def _uris_in(value: Any) -> list[str]:
    values = value if isinstance(value, list | tuple) else [value]
    return [uri for uri in values if isinstance(uri, str) and "://" in uri]


class GuardedAdapter:
    """A reader of files that refuses what is not allowed; for Tiled's registry of them by MIME type.

    Parameters
    ----------
    get_adapter : callable
        Gives the reader, which is imported when it is needed first.
    allowed : AllowedFiles
        Tells what may be read.
    """

    def __init__(self, get_adapter: Callable[[], Any], allowed: AllowedFiles) -> None:
        self._get_adapter, self._allowed = get_adapter, allowed

    def from_catalog(self, data_source: Any, node: Any, /, **options: Any) -> Any:
        """Make the adapter of a node."""
        self._allowed.check((asset.data_uri for asset in data_source.assets), options)
        if data_source.structure_family != StructureFamily.array:
            return self._get_adapter().from_catalog(data_source, node, **options)
        files = [asset.data_uri for asset in data_source.assets if not asset.is_directory]
        paths = [str(path_from_uri(uri)) for uri in files if urlsplit(uri).scheme == "file"]
        with with_reasons(paths, options.get("dataset")):
            adapter = self._get_adapter().from_catalog(data_source, node, **options)
        return ReadWithReasons(adapter, paths, options.get("dataset"))

    def from_uris(self, *uris: str, **options: Any) -> Any:
        """Make the adapter of files that no node describes."""
        self._allowed.check(uris, options)
        return self._get_adapter().from_uris(*uris, **options)

    def __getattr__(self, name: str) -> Any:
        if name == "supports_lazy_assets":
            return False  # which would go round the checks above
        return getattr(self._get_adapter(), name)


def guarded_adapters(adapters: Mapping[str, Any], allowed: AllowedFiles) -> dict[str, GuardedAdapter]:
    """Guard readers of files by MIME type, without importing those that import at the first look."""
    return {
        mimetype: GuardedAdapter(functools.partial(adapters.__getitem__, mimetype), allowed)
        for mimetype in adapters
    }


class RegisteredFiles:
    """Middleware for what clients say of files that the server is to know.

    They may call them by addresses that Tiled does not understand: it hands on those that it does. They may
    declare as the server's own only what lies in its own folder, since what is not "external" the server
    deletes with its node.

    Parameters
    ----------
    app : ASGIApp
    own : AllowedFiles
        The server's own.
    reach : callable
        Gives the address that Tiled understands.
    """

    def __init__(self, app: ASGIApp, own: AllowedFiles, reach: Callable[[str], str]) -> None:
        self._app, self._own, self._reach = app, own, reach

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http" or scope["method"] not in ("POST", "PUT", "PATCH"):
            await self._app(scope, receive, send)
            return
        if not any(part in scope["path"] for part in ("/register", "/metadata", "/data_source")):
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        try:
            body = self._look_through(body)
        except HTTPException as error:
            await JSONResponse({"detail": error.detail}, error.status_code)(scope, receive, send)
            return
        except (ValueError, TypeError, KeyError, AttributeError):
            pass  # no such document: Tiled, which reads it the same way, says what is wrong
        headers = [(name, value) for name, value in scope["headers"] if name != b"content-length"]
        scope = {**scope, "headers": [*headers, (b"content-length", str(len(body)).encode())]}
        await self._app(scope, given_again(body, receive), send)

    def _look_through(self, body: bytes) -> bytes:
        document = json.loads(body)
        changed = False
        for source in _data_sources(document):
            assets = source.get("assets") or ()
            for asset in assets:
                known = self._reach(asset["data_uri"])
                changed |= known != asset["data_uri"]
                asset["data_uri"] = known
            if source.get("management", "external") != "external":
                self._own.check((asset["data_uri"] for asset in assets), source.get("parameters") or {})
        return json.dumps(document).encode() if changed else body


def _data_sources(document: Any) -> list[Any]:
    return [*(document.get("data_sources") or ()), *filter(None, [document.get("data_source")])]
