"""Compiled functions where nothing can be kept: a read-only installation, a user without a home."""

from __future__ import annotations

from typing import Any

import numba
import pytest

from speckle_plugin.scattering import compiled


def test_without_a_folder_for_the_cache_functions_are_compiled_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    real = numba.njit
    real(lambda x: x)(1)  # at its first compilation numba imports more of itself, by its own njit
    asked: list[bool] = []

    def njit(**options: Any) -> Any:
        asked.append(bool(options.get("cache")))
        if options.get("cache"):
            raise RuntimeError("cannot cache function 'double': no locator available for file 'x.py'")
        return real(**options)

    monkeypatch.setattr(numba, "njit", njit)

    @compiled()
    def double(x: int) -> int:
        return 2 * x

    assert double(21) == 42
    assert asked == [True, False]
