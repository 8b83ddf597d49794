from __future__ import annotations

from pathlib import Path

import pytest

from speckle_plugin.network import load_bundle, shipped_bundles
from tests.testing.commands import Speckle


def test_a_bundle_in_detail(speckle: Speckle, small_bundle: Path) -> None:
    result = speckle("models", small_bundle)
    assert result.exit_code == 0, result.output
    bundle = load_bundle(small_bundle)
    for expected in (bundle.sha256, "resnet50", "2-20", "crop 64", "test: accuracy", "0.2500"):
        assert expected in result.stdout


def test_the_list_names_every_shipped_bundle(speckle: Speckle) -> None:
    result = speckle("models")
    assert result.exit_code == 0, result.output
    for name in shipped_bundles():
        assert name in result.stdout


def test_without_a_shipped_bundle_it_says_what_to_do(
    speckle: Speckle, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("speckle_plugin.network.bundle.BUNDLE_FOLDER", tmp_path)
    result = speckle("models")
    assert result.exit_code == 0
    assert "speckle train" in result.stderr


def test_a_bundle_that_is_missing(speckle: Speckle) -> None:
    result = speckle("models", "nothing.bundle")
    assert result.exit_code == 2
    assert result.stderr.startswith("Error: no bundle at nothing.bundle")
    assert len(result.stderr.splitlines()) == 1
