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


def test_a_network_that_was_trained_on_from_another_is_refused(speckle, tmp_path) -> None:
    path = _trained(tmp_path, 1000, 0.25)
    save_bundle(replace(load_bundle(path), parent="of another"), path)
    result = speckle("curve", path)
    assert result.exit_code == 2
    assert "'quadrant' was trained on from another" in " ".join(result.stderr.split())


def test_how_a_network_was_trained_is_told_epoch_by_epoch(speckle, tmp_path) -> None:
    path = _trained(tmp_path, None, 0.75)
    curves = [{"epoch": n, "accuracy": n / 8, "loss": 2.0 / n, "val_accuracy": n / 10} for n in range(1, 5)]
    bundle = load_bundle(path)
    save_bundle(replace(bundle, training={**bundle.training, "curves": curves}), path)
    result = speckle("curve", path, "--epochs", "--out", tmp_path / "course.png")
    assert result.exit_code == 0, result.output
    rows = [line.split()[2:] for line in result.stdout.splitlines() if line.startswith("quadrant")]
    assert rows[0] == ["1", "2000", "0.1250", "2.0000", "0.1000", "nan"]  # 8000 frames in four epochs
    assert [row[:3] for row in rows[1:]] == [
        ["2", "4000", "0.2500"],
        ["3", "6000", "0.3750"],
        ["4", "8000", "0.5000"],
    ]
    assert (tmp_path / "course.png").stat().st_size > 10_000


def test_a_network_without_its_curves_is_refused(speckle, tmp_path) -> None:
    path = _trained(tmp_path, None, 0.75)
    bundle = load_bundle(path)
    save_bundle(replace(bundle, training={**bundle.training, "curves": []}), path)
    result = speckle("curve", path, "--epochs")
    assert result.exit_code == 2
    assert "does not hold the curves of its training" in " ".join(result.stderr.split())


@pytest.mark.parametrize("name", ["curve.gif", "missing/curve.png"])
def test_where_the_picture_cannot_be_written(speckle, tmp_path, name: str) -> None:
    assert speckle("curve", _trained(tmp_path, 1000, 0.25), "--out", tmp_path / name).exit_code == 2
