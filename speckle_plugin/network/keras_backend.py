"""Keras on TensorFlow, whatever the user's environment chooses for other work (`KERAS_BACKEND`)."""

from __future__ import annotations

import os
import sys

from speckle_plugin.extras import extra_needed

__all__ = ["BackendError", "import_keras_on_tensorflow"]


class BackendError(ValueError):
    """Keras runs on something else in this process already."""


def import_keras_on_tensorflow() -> None:
    """Import Keras with the backend that gradients, the engine on GPUs and training here are written for.

    Raises
    ------
    BackendError
        If it is imported already, with another one.
    MissingExtraError
        If it is not installed.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    with extra_needed():
        import keras
        import tensorflow  # noqa: F401  what lacks is told here, not in mid-work
    if (backend := keras.backend.backend()) != "tensorflow":
        raise BackendError(
            f"Keras runs on {backend!r} in this process, and this needs TensorFlow: do it in another "
            "process, or before Keras is imported"
        )
