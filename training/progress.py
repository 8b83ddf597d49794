"""How long work tells of its progress."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["Report"]

Report = Callable[[str, int, int, dict[str, float]], None]
"""Called with what is being done, how much is done, how much there is, and the newest numbers."""
