"""Turn bad input into one clear line and exit code 2; any other error keeps its traceback.

The package's functions raise ValueError (BundleError is one) for values that can't be
right and OSError for files; both say what was expected and what to do. A package of an extra that is not
installed is such an error too.
"""

from __future__ import annotations

import errno
import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import ParamSpec, TypeVar

import typer

from speckle_plugin.extras import MissingExtraError, extra_needed

__all__ = ["BAD_INPUT", "clear_errors", "hint", "traceback_wanted"]

BAD_INPUT = 2
"""Exit code for bad input, the same that a wrong option gives."""

traceback_wanted = ContextVar("traceback_wanted", default=False)
"""Set by ``speckle --traceback``: errors are raised as they are."""

P = ParamSpec("P")
R = TypeVar("R")


def is_server_error(error: Exception) -> bool:
    """Tell whether an error is one of the Tiled server or of the way to it, whose text says so itself."""
    httpx = sys.modules.get("httpx")  # without it there was no client
    return httpx is not None and isinstance(error, httpx.HTTPError)


@contextmanager
def hint(kind: type[ValueError], option: str) -> Iterator[None]:
    """Name the option that mends an error, which the package's functions do not know."""
    try:
        yield
    except kind as error:
        raise kind(f"{error} (see {option})") from error


def clear_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that a ValueError, OSError or missing extra ends it with a line on stderr."""

    @functools.wraps(command)
    def with_clear_errors(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            with extra_needed():
                return command(*args, **kwargs)
        except Exception as error:
            if not (isinstance(error, ValueError | OSError | MissingExtraError) or is_server_error(error)):
                raise
            # A closed pipe (`speckle models | head`) is no error of the user's; typer ends quietly.
            if getattr(error, "errno", None) == errno.EPIPE or traceback_wanted.get():
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            if is_server_error(error):
                message = f"the Tiled server failed ({message}): is it running, and what does its log say?"
            typer.secho(f"Error: {message}", err=True, fg="red")
            raise typer.Exit(BAD_INPUT) from error

    return with_clear_errors
