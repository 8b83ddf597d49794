"""Keras on TensorFlow, whatever the user's environment chooses for other work (`KERAS_BACKEND`)."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Literal

from speckle_plugin.extras import extra_needed

__all__ = ["BackendError", "import_keras_on", "import_keras_on_tensorflow"]


class BackendError(ValueError):
    """Keras runs on something else in this process already."""


def import_keras_on_tensorflow() -> None:
    """Import Keras with the backend that gradients and the engine on GPUs are written for.

    Raises
    ------
    BackendError
        If it is imported already, with another one.
    MissingExtraError
        If it is not installed.
    """
    import_keras_on("tensorflow")


def import_keras_on(wanted: Literal["tensorflow", "jax"]) -> None:
    """Import Keras with a backend.

    Raises
    ------
    BackendError
        If it is imported already, with another one.
    MissingExtraError
        If one of the two is not installed.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = wanted
    with extra_needed():
        importlib.import_module(wanted)  # what lacks is told here, not in mid-work
        import keras
    if (backend := keras.backend.backend()) != wanted:
        names = {"tensorflow": "TensorFlow", "jax": "JAX"}
        raise BackendError(
            f"Keras runs on {backend!r} in this process, and this needs {names[wanted]}: do it in another "
            "process, or before Keras is imported"
        )
