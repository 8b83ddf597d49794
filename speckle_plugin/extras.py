"""Packages that only some uses need: which extra installs one, and what is said where it is missing."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from speckle_plugin.shell import command

__all__ = ["EXTRA_OF", "MissingExtraError", "extra_needed"]

EXTRA_OF = {
    "IPython": "ipython",
    "databroker": "databroker",
    "jax": "jax",
    "keras": "train",
    "onnx": "onnx",
    "onnxruntime": "onnx",
    "ophyd": "sim",
    "panel": "monitor",
    "sklearn": "train",
    "tensorboard": "train",
    "tensorflow": "train",
    "tf2onnx": "onnx",
    "zmq": "worker",
}
"""Packages, by the names that are imported, and the extras of pyproject.toml that install them."""


class MissingExtraError(ImportError):
    """A package is not installed that an extra of this one brings along."""


@contextmanager
def extra_needed() -> Iterator[None]:
    """Say which extra is to be installed, where an import in the block does not find its package.

    Raises
    ------
    MissingExtraError
        If a package of an extra is missing.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in EXTRA_OF:
            raise
        raise MissingExtraError(
            f"the package {package!r} is not installed, which this needs: "
            + command("pip", "install", f"speckle-plugin[{EXTRA_OF[package]}]")
        ) from error
