"""Types of the fixtures that run commands; these are in tests/cli/conftest.py."""

from __future__ import annotations

from collections.abc import Callable

from typer.testing import Result

__all__ = ["Refused", "Speckle"]

Speckle = Callable[..., Result]
"""Runs a command in this process: `speckle("models", path)`."""

Refused = Callable[..., None]
"""Sees that a command ends with exit code 2 and an error: `refused("models", path, why="...")`."""
