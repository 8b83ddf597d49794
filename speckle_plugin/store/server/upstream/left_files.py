"""Files that a server left when it was killed, out of the way of a node that is made anew.

Tiled (0.2.20) makes the files of an array before the catalog knows the array, and deletes them after the
catalog has forgotten it. What a server that was killed in between leaves belongs to no node, and an array
of the same path is an error 500 from then on: the run could never be replayed. `NothingLeft` removes what
lies in the place of a container that was just made. It would end when Tiled writes over such files.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from urllib.parse import quote_plus

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from speckle_plugin.store.server.request_body import given_again

__all__ = ["NothingLeft"]

ROUTE = "/api/v1/metadata/"


class NothingLeft:
    """Middleware that empties the folder of a container that did not exist before the request.

    Parameters
    ----------
    app : ASGIApp
    folder : path
        Holds the files of arrays that clients wrote, by the paths of their nodes.
    """

    def __init__(self, app: ASGIApp, folder: Path) -> None:
        self._app, self._folder = app, folder

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and clear up before the answer to one that made a container."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(ROUTE):
            await self._app(scope, receive, send)
            return
        body = await Request(scope, receive).body()
        left = self._left_for(scope["path"].removeprefix(ROUTE), body)

        async def send_when_cleared(message: Message) -> None:
            # Of an existing container Tiled says 409: what was made just now has no files yet.
            if message["type"] == "http.response.start" and message["status"] == 200 and left is not None:
                await run_in_threadpool(shutil.rmtree, left)
            await send(message)

        await self._app(scope, given_again(body, receive), send_when_cleared)

    def _left_for(self, parent: str, body: bytes) -> Path | None:
        """Give the folder that lies where a container is to be made, if there is one."""
        try:
            node = json.loads(body)
            if node["structure_family"] != "container":
                return None
            segments = [*filter(None, parent.split("/")), node["id"]]
            names = [quote_plus(segment) for segment in segments]
        except (ValueError, TypeError, KeyError):
            return None  # no such document, or one without a name: Tiled says what is wrong, or gives one
        if {"", ".", ".."} & {*names}:
            return None
        folder = self._folder.joinpath(*names)
        return folder if folder.is_dir() else None
