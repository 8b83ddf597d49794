"""Number formats that a machine has, and those that it would only emulate."""

from __future__ import annotations

import pytest

from training import precision


@pytest.mark.parametrize(
    ("wanted", "gpus", "quick", "chosen"),
    [
        ("float32", 0, False, "float32"),
        ("mixed_bfloat16", 0, True, "mixed_bfloat16"),
        ("mixed_bfloat16", 0, False, "float32"),
        ("mixed_float16", 0, True, "float32"),
        ("mixed_float16", 1, False, "mixed_float16"),
    ],
)
def test_precision(wanted: str, gpus: int, quick: bool, chosen: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "count_gpus", lambda backend: gpus)
    monkeypatch.setattr(precision, "has_quick_bfloat16", lambda: quick)
    assert precision.supported_precision(wanted) == chosen
