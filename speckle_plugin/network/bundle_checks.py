"""Does a bundle make sense? Checked when it is loaded, before any of it is used or shown."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, StrictInt

from speckle_plugin.network.resnet import STEMS, resnet50_shapes
from speckle_plugin.typed_values import typed_values

__all__ = ["ARCHITECTURES", "IMPORTED", "check_manifest", "check_weights"]

ARCHITECTURES: dict[str, Callable[[int], dict[str, tuple[int, ...]]]] = {
    name: functools.partial(resnet50_shapes, architecture=name) for name in STEMS
}
"""Path and shape of each variable, for a number of classes."""

IMPORTED = "onnx"
"""Architecture of a network that was imported: its graph is in the bundle."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False, strict=True)]


class Manifest(BaseModel):
    """What `manifest.json` holds, but for its format."""

    model_config = ConfigDict(extra="forbid")

    name: Annotated[str, Field(min_length=1, strict=True)]
    version: Annotated[str, Field(strict=True)]
    classes: Annotated[list[StrictInt], Field(min_length=2)]
    preprocessing: dict[str, Any]
    pitch: Positive | None = None
    temperature: Positive = 1.0
    metrics: dict[str, Any] = {}
    training: dict[str, Any] = {}
    parent: str = ""
    architecture: str = "resnet50"
    class_names: list[str] = []
    form: dict[str, Any] | None = None


def check_manifest(manifest: Mapping[str, Any]) -> None:
    """See that each value is of its type and possible.

    Raises
    ------
    ValueError
        If one is not: what was expected, and what it is.
    """
    typed = typed_values(Manifest, manifest)
    if (known := [*ARCHITECTURES, IMPORTED]) and typed.architecture not in known:
        raise ValueError(f"its architecture is {typed.architecture!r}; known are {', '.join(known)}")
    if (typed.form is None) == (typed.architecture == IMPORTED):
        raise ValueError(f"its architecture is {typed.architecture!r}, and its form {typed.form}")
    if typed.class_names and len(typed.class_names) != len(typed.classes):
        raise ValueError(f"it has {len(typed.class_names)} names for {len(typed.classes)} classes")
    classes = typed.classes
    doubled = sorted({number for number in classes if classes.count(number) > 1})
    if doubled or min(classes) < 0:
        wrong = f"{doubled} more than once" if doubled else f"the negative {min(classes)}"
        raise ValueError(f"classes must be numbers of disks, each once: they have {wrong}")


def check_weights(
    architecture: str, weights: Mapping[str, NDArray[np.float32]], classes: Sequence[int]
) -> None:
    """See that the weights are those of the architecture with these classes, and finite.

    Raises
    ------
    ValueError
        If a variable is missing, is too many, has another shape, or is not finite.
    """
    expected = ARCHITECTURES[architecture](len(classes))
    missing, strange = sorted(set(expected) - set(weights)), sorted(set(weights) - set(expected))
    if missing or strange:
        raise ValueError(
            f"its weights are not those of {architecture}: {len(missing)} missing {missing[:3]}, "
            f"{len(strange)} unknown {strange[:3]}"
        )
    for name, value in weights.items():
        if value.shape != expected[name]:
            raise ValueError(
                f"the weights {name} have the shape {value.shape}; for {len(classes)} classes it must be "
                f"{expected[name]}"
            )
        if not np.isfinite(value).all():
            raise ValueError(f"the weights {name} are not finite: the training diverged")
