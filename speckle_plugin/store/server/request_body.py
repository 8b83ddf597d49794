"""The body of a request that a middleware has read, given again to what comes after it."""

from __future__ import annotations

from starlette.types import Message, Receive

__all__ = ["given_again"]


def given_again(body: bytes, receive: Receive) -> Receive:
    """Give a `receive` whose first message is a body, and whose others are those of another one."""
    given = False

    async def give() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return give
