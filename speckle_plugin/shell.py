"""Commands that are printed for the user to type: quoted, so that a shell takes each word as it is meant."""

from __future__ import annotations

import shlex

__all__ = ["command"]


def command(*words: object, **environment: object) -> str:
    """Give a command as it is to be typed.

    Parameters
    ----------
    *words : object
        The program, its options and arguments; each is one word for the shell, whatever is in it.
    **environment : object
        Variables that stand before it.

    Examples
    --------
    >>> command("speckle", "query", "--data", "my data", SPECKLE_SERVER_IDLE=5)
    "SPECKLE_SERVER_IDLE=5 speckle query --data 'my data'"
    """
    variables = [f"{name}={shlex.quote(str(value))}" for name, value in environment.items()]
    return " ".join([*variables, shlex.join(map(str, words))])
