"""Structures solved in processes of their own, and told as documents: the second opinion on a frame."""

from speckle_plugin.solving.pool import FrameError, Outcome, SolverError, SolverPool, spare_cores
from speckle_plugin.solving.task import SolveTask

__all__ = ["FrameError", "Outcome", "SolveTask", "SolverError", "SolverPool", "spare_cores"]
