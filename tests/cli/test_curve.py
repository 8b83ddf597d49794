"""`speckle curve` on bundles that say how they were trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from speckle_plugin.network import find_bundle, load_bundle, save_bundle


def _trained(folder: Path, frames: int | None, accuracy: float, **settings: object) -> Path:
    bundle = find_bundle()
    recipe = {**bundle.training["recipe"], "training_frames": frames, **settings}
    test = {**bundle.metrics["test"], "accuracy": accuracy}
    path = folder / f"{frames}{''.join(settings)}.bundle"
    save_bundle(
        replace(
            bundle,
            parent="",
            training={**bundle.training, "recipe": recipe, "frames_seen": 8000},
            metrics={"test": test},
        ),
        path,
    )
    return path


def test_networks_are_compared_by_their_training_frames(speckle, tmp_path) -> None:
    paths = [_trained(tmp_path, None, 0.75), _trained(tmp_path, 1000, 0.25)]
    result = speckle("curve", *paths, "--out", tmp_path / "curve.png")
    assert result.exit_code == 0, result.output
    rows = [line.split() for line in result.stdout.splitlines() if " 8000 " in line]
    assert [row[-5:-1] for row in rows] == [
        ["1000", "8000", "1900", "0.2500"],
        ["8000", "8000", "1900", "0.7500"],
    ]
    assert (tmp_path / "curve.png").stat().st_size > 10_000


def test_trainings_of_other_kinds_are_named(speckle, tmp_path) -> None:
    paths = [
        _trained(tmp_path, 1000, 0.25),
        _trained(tmp_path, 1000, 0.2, optimizer="adam"),
        _trained(tmp_path, 1000, 0.3, ema_momentum=0.9),
    ]
    result = speckle("curve", *paths)
    assert "radial image, adam " in result.stdout
    assert "radial image, averaged weights " in result.stdout


def test_a_network_without_its_recipe_is_refused(speckle, tmp_path) -> None:
    path = _trained(tmp_path, 1000, 0.25)
    save_bundle(replace(load_bundle(path), training={}), path)
    result = speckle("curve", path)
    assert result.exit_code == 2
    assert "does not hold its recipe and test" in result.stderr


def test_a_network_that_was_trained_on_from_another_is_refused(speckle) -> None:
    result = speckle("curve", "quadrant")
    assert result.exit_code == 2
    assert "'quadrant' was trained on from another" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["curve.gif", "missing/curve.png"])
def test_where_the_picture_cannot_be_written(speckle, tmp_path, name: str) -> None:
    assert speckle("curve", _trained(tmp_path, 1000, 0.25), "--out", tmp_path / name).exit_code == 2
