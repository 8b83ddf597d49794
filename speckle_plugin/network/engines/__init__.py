"""Engines: what runs the network. Each turns a batch of inputs into logits and features."""

from speckle_plugin.network.engines.base import Engine, NetworkOutput
from speckle_plugin.network.engines.choice import make_engine

__all__ = ["Engine", "NetworkOutput", "make_engine"]
