"""Finish the frames of stored runs that have no label yet, from the frames as they are stored."""

from speckle_plugin.reprocess.complete import Completion, complete_run, complete_runs
from speckle_plugin.reprocess.consistency import CompletionError

__all__ = ["Completion", "CompletionError", "complete_run", "complete_runs"]
