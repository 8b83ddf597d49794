"""Which number format to train in: the one place where this is decided."""

from __future__ import annotations

import logging

from speckle_plugin.network.engines.openvino import has_quick_bfloat16
from training.backend import BackendName, count_gpus

__all__ = ["supported_precision"]

logger = logging.getLogger(__name__)


def supported_precision(wanted: str, backend: BackendName = "tensorflow") -> str:
    """Give the precision of a recipe, or `float32` where this machine is not quicker in it.

    Without instructions for bfloat16 TensorFlow falls back to code that is tens of times slower
    than float32, and not all processors that have them gain by them. Weights are float32 either way, so
    that nothing else changes.

    Parameters
    ----------
    wanted : {"float32", "mixed_bfloat16", "mixed_float16"}
    backend : {"tensorflow", "jax"}
    """
    if wanted == "float32" or count_gpus(backend) or (wanted == "mixed_bfloat16" and has_quick_bfloat16()):
        return wanted
    logger.warning("training in float32: this machine has no quick instructions for %s", wanted)
    return "float32"
