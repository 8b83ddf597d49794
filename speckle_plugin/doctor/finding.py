"""One thing that was looked at, and what to do about it."""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = ["Finding", "Level", "broken", "fine", "note"]


class Level(enum.StrEnum):
    """How it is."""

    FINE = "ok"
    NOTE = "note"
    BROKEN = "BROKEN"


@dataclass(frozen=True)
class Finding:
    """What was found.

    Parameters
    ----------
    subject : str
        What was looked at.
    level : Level
    text : str
        How it is.
    remedy : str
        What to do; empty if nothing is to be done.
    """

    subject: str
    level: Level
    text: str
    remedy: str = ""


def fine(subject: str, text: str) -> Finding:
    """Give a finding that asks for nothing."""
    return Finding(subject, Level.FINE, text)


def note(subject: str, text: str, remedy: str = "") -> Finding:
    """Give a finding that some uses suffer from."""
    return Finding(subject, Level.NOTE, text, remedy)


def broken(subject: str, text: str, remedy: str) -> Finding:
    """Give a finding that keeps the product from working."""
    return Finding(subject, Level.BROKEN, text, remedy)
