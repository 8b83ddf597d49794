"""The command around the training; the training itself is tested in tests/training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import training.train
from speckle_plugin.network import Bundle
from speckle_plugin.preprocessing import Preprocessing
from tests.testing.commands import Refused, Speckle


def test_it_trains_by_the_recipe_and_prints_what_came_of_it(
    speckle: Speckle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Any] = []

    def train(recipe: Any, folder: Path, report: Any, parent: Any) -> Bundle:
        asked.append((recipe.name, recipe.steps, folder, parent and parent.name))
        report("train", 1, 2, {"loss": 0.5})
        report("test", 1, 1, {"accuracy": 0.9})
        test = {
            "frames": 10,
            "errors": 1,
            "accuracy": 0.9,
            "within_one": 1.0,
            "f1": 0.9,
            "mean_confidence": 0.8,
        }
        settings = Preprocessing()
        return Bundle(
            recipe.name, "1", (2, 3), settings, {}, metrics={"test": test}, sha256="abcdef0123456789"
        )

    monkeypatch.setattr(training.train, "train", train)
    options = ("--set", "steps=100", "--parent", "published")
    result = speckle("train", "mono", "--out", tmp_path / "run", *options)
    assert result.exit_code == 0, result.output
    assert asked == [("mono", 100, tmp_path / "run", "published")]
    assert str(tmp_path / "run" / "mono.bundle") in result.stdout
    assert "0.9000" in result.stdout


def test_the_list_of_recipes(speckle: Speckle) -> None:
    result = speckle("train", "--list")
    assert result.exit_code == 0, result.output
    assert "mono" in result.stdout
    assert "quadrant 257" in result.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "give a recipe and --out FOLDER"),
        (("mono",), "give a recipe and --out FOLDER"),
        (("nothing", "--out", "run"), "no recipe at nothing"),
        (("bad.toml", "--out", "run"), "unknown keys ['colour']"),
        (("broken.toml", "--out", "run"), "Invalid value"),
        (("mono", "--out", "other"), "another recipe"),
    ],
)
def test_bad_input(refused: Refused, arguments: tuple[str, ...], message: str) -> None:
    Path("bad.toml").write_text('name = "bad"\nversion = "1"\ncolour = "red"\n')
    Path("broken.toml").write_text("name = \n")
    Path("other").mkdir()
    Path("other", "recipe.json").write_text("{}")
    Path("other", "state.json").write_text("{}")
    refused("train", *arguments, why=message)
