"""Which engine to use: the one place where this is decided."""

from __future__ import annotations

import shutil
from importlib.util import find_spec

from speckle_plugin.network import Bundle
from speckle_plugin.network.engines.base import Engine

__all__ = ["ENGINES", "make_engine"]

ENGINES = ("auto", "openvino", "tensorflow", "onnxruntime")


def make_engine(bundle: Bundle, name: str = "auto") -> Engine:
    """Make the engine for a bundle.

    Parameters
    ----------
    bundle : Bundle
    name : {"auto", "openvino", "tensorflow", "onnxruntime"}
        `auto` takes TensorFlow where there is an NVIDIA GPU, OpenVINO elsewhere, and for imported networks.

    Raises
    ------
    ValueError
        If the name is none of these, or that engine cannot run an imported network.
    MissingExtraError
        If TensorFlow or onnxruntime is asked for by name and is not installed.
    """
    if name not in ENGINES:
        raise ValueError(f"unknown engine {name!r}: expected one of {', '.join(ENGINES)}")
    if name == "onnxruntime":
        from speckle_plugin.network.engines.onnxruntime import OnnxruntimeEngine

        return OnnxruntimeEngine(bundle)
    if bundle.form is not None and name == "tensorflow":
        raise ValueError(
            f"the network {bundle.name!r} was imported: it runs on openvino or onnxruntime, not on TensorFlow"
        )
    if name == "tensorflow" or (name == "auto" and bundle.form is None and _has_gpu()):
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
