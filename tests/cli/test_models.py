from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from speckle_plugin.network import load_bundle, shipped_bundles
from tests.testing.commands import Refused, Speckle
from tests.testing.networks import write_network

NAMES = ("dim", "bright", "brightest")


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


def test_import_show_classify_export(tmp_path: Path, speckle: Speckle, refused: Refused) -> None:
    path = write_network(tmp_path / "net.onnx")
    bundle, frames, table = tmp_path / "b.bundle", tmp_path / "f.npy", tmp_path / "t.csv"
    np.save(frames, np.stack([np.random.default_rng(0).exponential(m, (65, 65)) for m in (1, 4, 9)]))
    options = ("--classes", ",".join(NAMES), "--name", "brightness", "--licence", "CC0-1.0")
    made = speckle("models", "import", path, *options, "--source", "a test", "--out", bundle)
    assert made.exit_code == 0, made.output
    shown = speckle("models", bundle).stdout
    for expected in ("brightness", "CC0-1.0", "a test", "dim, bright, brightest", load_bundle(bundle).sha256):
        assert expected in shown
    result = speckle("classify", frames, "--beam-center", "0,0", "--model", bundle, "--out", table)
    assert result.exit_code == 0, result.output
    rows = [line.split(",") for line in table.read_text().splitlines()]
    assert [row[-1] for row in rows] == ["class_name", *NAMES]
    exported = tmp_path / "again.onnx"
    assert speckle("models", "export", bundle, "--out", exported).exit_code == 0
    assert exported.read_bytes() == path.read_bytes()
    refused(
        "models", "import", path, "--classes", "2-20", "--out", tmp_path / "c.bundle", why="no classifier"
    )
    wrong = ("--classes", ",".join(NAMES), "--preprocessing", "blur", "--out", tmp_path / "c.bundle")
    refused("models", "import", path, *wrong, why="the preprocessing 'blur' is not known: give none, log")
    assert not (tmp_path / "c.bundle").exists()
