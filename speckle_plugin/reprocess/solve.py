"""Solve stored frames: what second opinions left, or all frames of runs that have none.

The answers go into a new stream of the run, `structure_2` and so on, with a row for every frame that was
asked; earlier answers are taken over. Rows are written as they come. Whoever is stopped leaves a stream that
no summary names, and the next call takes over what is in it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    pass

__all__ = ["Solution", "Which", "solve_run"]
