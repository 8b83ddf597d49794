"""One process at a time writes results into a stored run: the others leave it alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from speckle_plugin.reprocess.consistency import CompletionError
from speckle_plugin.store.leases import RunLeases

if TYPE_CHECKING:
    from bluesky_tiled_plugins import BlueskyRun

__all__ = ["alone"]


@contextmanager
def alone(leases: RunLeases | None, run: BlueskyRun) -> Iterator[None]:
    """Hold a run in a block; without leases there is nobody else.

    Raises
    ------
    CompletionError
        If another process has it.
    """
    if leases is None:
        yield
        return
    with leases.holding(run.start["uid"]) as lease:
        if lease is None:
            raise CompletionError(
                f"another process works on the frames of the run {run.start['uid']} (a worker, or a command "
                "like this one): wait until it has done them, or end it; then do the same again, if anything "
                "is left"
            )
        yield
