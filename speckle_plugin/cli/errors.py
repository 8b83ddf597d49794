"""Turn bad input into one clear line and exit code 2; any other error keeps its traceback.

The package's functions raise ValueError (BundleError is one) for values that can't be
right and OSError for files; both say what was expected and what to do.
"""

from __future__ import annotations

import errno
import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click
import typer

__all__ = ["BAD_INPUT", "clear_errors"]

BAD_INPUT = 2
"""Exit code for bad input, the same that a wrong option gives."""

P = ParamSpec("P")
R = TypeVar("R")


def clear_errors(command: Callable[P, R]) -> Callable[P, R]:
    """Decorate a command so that a ValueError or OSError ends it with one line on stderr.

    With ``speckle --traceback`` the error is raised as it is.
    """

    @functools.wraps(command)
    def with_clear_errors(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except (ValueError, OSError) as error:
            # A closed pipe (`speckle models | head`) is no error of the user's; click ends quietly.
            if getattr(error, "errno", None) == errno.EPIPE or _wants_traceback():
                raise
            message = " ".join(str(error).split()) or type(error).__name__
            typer.secho(f"Error: {message}", err=True, fg="red")
            raise typer.Exit(BAD_INPUT) from error

    return with_clear_errors


def _wants_traceback() -> bool:
    context = click.get_current_context(silent=True)
    return context is not None and bool(context.find_root().params.get("traceback"))
