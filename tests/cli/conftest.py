"""Bundles and files of frames for the commands."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from speckle_plugin.cli import app
from speckle_plugin.network import Bundle, find_bundle, save_bundle
from speckle_plugin.network.engines import Engine, make_engine
from speckle_plugin.preprocessing import Preprocessing
from tests.testing.commands import Refused, Speckle


@pytest.fixture
def speckle() -> Speckle:
    """Run a command in this process: `speckle("models", path)`."""
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


@pytest.fixture
def refused(speckle: Speckle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Run a command in an empty folder, see that it ends with exit code 2 and an error that says why."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, why: str) -> None:
        result = speckle(*arguments)
        assert result.exit_code == 2
        # Errors of usage stand in a frame that breaks lines.
        assert "".join(why.split()) in "".join(result.stderr.replace("│", "").split())
        assert result.stderr.startswith(("Error: ", "Usage: "))

    return run


@pytest.fixture(scope="session")
def small_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give the shipped network for frames of 64 x 64 pixels and more, where its labels mean nothing.

    Not a network built here: with TensorFlow in this process, absl's log handler would close
    pytest's stderr when the demo's server sets up its logging under a CliRunner.
    """
    bundle = replace(
        find_bundle(),
        name="small",
        version="0",
        preprocessing=Preprocessing(crop=64),
        feature_statistics=None,
        metrics={"test": {"frames": 4, "accuracy": 0.25, "families": ["mono"]}},
    )
    path = tmp_path_factory.mktemp("bundles") / "small.bundle"
    save_bundle(bundle, path)
    return path


@pytest.fixture(autouse=True, scope="session")
def _one_engine_per_bundle() -> Iterator[None]:
    """Keep engines, which the commands would make anew each time: these tests call them often."""
    engines: dict[tuple[str, str], Engine] = {}

    def make_once(bundle: Bundle, name: str) -> Engine:
        key = bundle.sha256, name
        if key not in engines:
            engines[key] = make_engine(bundle, name)
        return engines[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("speckle_plugin.network.classifier.make_engine", make_once)
        yield


@pytest.fixture
def frames() -> np.ndarray:
    """Five frames of 65 x 65 pixels, unlike each other."""
    return np.random.default_rng(0).exponential(100.0, (5, 65, 65)).astype(np.float32)
