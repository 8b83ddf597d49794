"""Engines: what runs the network. Each turns a batch of inputs into logits."""

from speckle_plugin.engines.base import Engine
from speckle_plugin.engines.choice import make_engine

__all__ = ["Engine", "make_engine"]
