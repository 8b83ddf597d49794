"""Which engine to use: the one place where this is decided."""

from __future__ import annotations

from speckle_plugin.engines.base import Engine
from speckle_plugin.models import Bundle

__all__ = ["ENGINES", "make_engine"]

ENGINES = ("auto", "tensorflow")


def make_engine(bundle: Bundle, name: str = "auto") -> Engine:
    """Make the engine for a bundle.

    Parameters
    ----------
    bundle : Bundle
    name : {"auto", "tensorflow"}

    Raises
    ------
    ValueError
        If the name is none of these.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}: expected one of {', '.join(ENGINES)}")
    from speckle_plugin.engines.tensorflow import TensorflowEngine

    return TensorflowEngine(bundle)
