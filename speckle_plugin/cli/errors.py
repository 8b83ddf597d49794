"""Turn bad input into one clear line and exit code 2; any other error keeps its traceback.

The package's functions raise ValueError (BundleError is one) for values that can't be
right and OSError for files; both say what was expected and what to do. They name parameters, in whose place
the options of the command are told. A package of an extra that is not
installed is such an error too.
"""

from __future__ import annotations

import errno
import functools
import re
import sys
from collections.abc import Callable
from contextvars import ContextVar
from typing import ParamSpec, TypeVar, get_type_hints

import typer
from typer.models import OptionInfo

from speckle_plugin.extras import MissingExtraError, extra_needed

__all__ = ["BAD_INPUT", "clear_errors", "name_options", "traceback_wanted"]

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


def _refusal(error: Exception) -> str:
    """Give the reason that the Tiled server gives for a client error; empty if there is none."""
    response = getattr(error, "response", None)
    if not is_server_error(error) or response is None:
        return ""
    from speckle_plugin.store.read.read_errors import reason_given

    return reason_given(response)


def name_options(text: str, command: Callable[..., object]) -> str:
    """Put a command's options in the place of the parameters that an error names in backticks.

    The package's functions speak of their own parameters, such as `beam_center`; who gave a command knows
    ``--beam-center``. Where a command names an option otherwise than its parameter, its declaration says so.
    """
    options: dict[str, str] = {}
    for parameter, kind in get_type_hints(command, include_extras=True).items():
        for declared in getattr(kind, "__metadata__", ()):
            if isinstance(declared, OptionInfo):
                # The first name, by typer's ways with Annotated, stands where a default would.
                names = [declared.default, *(declared.param_decls or ())]
                named = [name for name in names if isinstance(name, str) and name.startswith("--")]
                options[parameter] = (
                    named[0].partition("/")[0] if named else f"--{parameter}".replace("_", "-")
                )
    return re.sub(r"`(\w+)`", lambda found: options.get(found[1], found[0]), text)


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
            message = " ".join(name_options(str(error), command).split()) or type(error).__name__
            if refused := _refusal(error):
                message = f"the Tiled server refuses: {refused}"
            elif is_server_error(error):
                message = f"the Tiled server failed ({message}): is it running, and what does its log say?"
            typer.secho(f"Error: {message}", err=True, fg="red")
            raise typer.Exit(BAD_INPUT) from error

    return with_clear_errors
