"""Which engine to use: the one place where this is decided."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import Engine

__all__ = ["ENGINES", "make_engine"]

ENGINES = ("auto", "openvino", "tensorflow")


def make_engine(bundle: Bundle, name: str = "auto") -> Engine:
    """Make the engine for a bundle.

    Parameters
    ----------
    bundle : Bundle
    name : {"auto", "openvino", "tensorflow"}
        `auto` takes TensorFlow where there is an NVIDIA GPU, OpenVINO elsewhere.

    Raises
    ------
    ValueError
        If the name is none of these.
    MissingExtraError
        If TensorFlow is asked for by name and is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}: expected one of {', '.join(ENGINES)}")
    if name == "tensorflow" or (name == "auto" and _has_gpu()):
        from speckle_plugin.network.engines.tensorflow import TensorflowEngine

        return TensorflowEngine(bundle)
    from speckle_plugin.network.engines.openvino import OpenvinoEngine

    return OpenvinoEngine(bundle)


def _has_gpu() -> bool:
    """Tell whether TensorFlow is there and would find a GPU; without a driver it is not imported."""
    if shutil.which("nvidia-smi") is None or find_spec("tensorflow") is None:
        return False
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))
