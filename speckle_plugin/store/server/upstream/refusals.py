"""Refusals that Tiled means for the client, and answers 500 to.

Before any reader of files is asked, Tiled (0.2.20) looks whether a file lies in the folders that it serves,
and whether it knows the format. It raises a RuntimeError of either, which becomes "Internal server error".
`explain_refusals` makes of them what they are, by the beginning of their text; where that changes, they are
500 as before, and a test fails. It would end when Tiled answers 403 and 415.

Importing this module imports Tiled's server.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import FastAPI, HTTPException
from fastapi.exception_handlers import http_exception_handler
from starlette.requests import Request
from starlette.responses import Response

__all__ = ["explain_refusals"]

OUTSIDE = "Refusing to serve "
UNKNOWN_FORMAT = "Server configuration has no adapter for mimetype "


def explain_refusals(app: FastAPI, refuse_file: Callable[[str], HTTPException]) -> None:
    """Have an application say why it refuses.

    Parameters
    ----------
    app : FastAPI
    refuse_file : callable
        Gives the error for the address of a file that lies outside.
    """

    async def answer(request: Request, error: Exception) -> Response:
        said = str(error)
        if said.startswith(OUTSIDE):
            uri = said.removeprefix(OUTSIDE).partition(" because it is outside")[0]
            return await http_exception_handler(request, refuse_file(uri))
        if said.startswith(UNKNOWN_FORMAT):
            mimetype = said.removeprefix(UNKNOWN_FORMAT)
            reason = f"this server has no reader for files of the format {mimetype}: read them where they lie"
            return await http_exception_handler(request, HTTPException(415, reason))
        raise error

    app.add_exception_handler(RuntimeError, answer)
