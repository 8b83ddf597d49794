"""Values from files (manifests, recipes) into their dataclasses, each of its declared type."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, TypeVar, cast

from pydantic import TypeAdapter, ValidationError

__all__ = ["typed_values"]

T = TypeVar("T")


def typed_values(kind: type[T], values: Mapping[str, Any]) -> T:
    """Make a dataclass, or a pydantic model, of values whose types nobody has checked yet.

    A whole number may be written 1e3, a number as text, a tuple as a list; a number is no text.

    Raises
    ------
    ValueError
        If a key is unknown or missing, or a value is of another type or out of range: one line that
        names each, what was expected, and what came.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"expected keys and values for {kind.__name__}, not {values!r}")
    known = sorted(getattr(kind, "model_fields", ()) or getattr(kind, "__dataclass_fields__", ()))
    unknown = sorted(set(values) - set(known))
    if unknown:
        raise ValueError(f"unknown keys {unknown} for {kind.__name__}; known are {known}")
    try:
        made: T = _adapters(cast(Any, kind)).validate_python(dict(values))
    except ValidationError as error:
        raise ValueError("; ".join(_told(found) for found in error.errors())) from error
    return made


_adapters = functools.cache(TypeAdapter)


def _told(found: Any) -> str:
    """Say one finding of pydantic in a line; what a dataclass says of itself stays as it is."""
    where = ".".join(str(part) for part in found["loc"])
    if found["type"] == "missing":
        return f"{where} is missing"
    message = found["msg"].removeprefix("Value error, ")
    if not where:
        return str(message)
    came = repr(found["input"])
    return (
        f"{where}: {message[:1].lower()}{message[1:]}, not {came if len(came) <= 60 else came[:57] + '...'}"
    )
