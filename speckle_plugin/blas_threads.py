"""Matrix products of numpy that leave the other cores to the network.

The threads of OpenBLAS go on turning for tens of milliseconds after a product, in case another one
comes. Until then each takes a core from the engine: on two cores with bfloat16 the network ran at half
its speed after each product, of which each batch has one (docs/decisions/0014).
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import ThreadpoolController

__all__ = ["one_blas_thread"]

_lock = threading.Lock()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Have numpy's products run on the calling thread alone; for short ones, one thread at a time."""
    with _lock, _controller().limit(limits=1, user_api="blas"):
        yield


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
