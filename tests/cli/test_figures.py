"""The paper's figures: PNG files of what was simulated."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import get_args

import matplotlib.image
import numpy as np
import pytest

from speckle_plugin.cli.figures import FigureName
from tests.testing.commands import Refused, Speckle
from training.evaluation import figures
from training.evaluation.figures import (
    confusion_picture,
    first_moment_picture,
    first_moments,
    systems_picture,
)


@pytest.fixture
def _small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw figure 6 from fewer and smaller frames."""
    small = {
        name: functools.partial(draw, disk_numbers=(2, 9, 20), per_number=2, size=65)
        for name, draw in figures.FIGURES.items()
        if name.startswith("figure6")
    }
    monkeypatch.setattr(figures, "FIGURES", {**figures.FIGURES, **small})


def test_names_are_those_of_the_library() -> None:
    assert list(get_args(FigureName)) == list(figures.FIGURES)


@pytest.mark.usefixtures("_small_figures")
def test_all_figures_into_a_new_folder(speckle: Speckle, tmp_path: Path) -> None:
    folder = tmp_path / "new" / "figures"
    result = speckle("figures", "--out", folder)
    assert result.exit_code == 0, result.output
    assert sorted(p.stem for p in folder.iterdir()) == sorted(get_args(FigureName))
    for path in folder.iterdir():
        assert str(path) in result.stdout
        pixels = matplotlib.image.imread(path)
        assert min(pixels.shape[:2]) > 500
        assert pixels[..., :3].std() > 0.05


@pytest.mark.usefixtures("_small_figures")
def test_the_seed_makes_the_figure(speckle: Speckle, tmp_path: Path) -> None:
    drawn = {}
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        result = speckle("figures", "--only", "figure6_poly", "--seed", seed, "--out", tmp_path / name)
        assert result.exit_code == 0, result.output
        assert [p.name for p in (tmp_path / name).iterdir()] == ["figure6_poly.png"]
        drawn[name] = matplotlib.image.imread(tmp_path / name / "figure6_poly.png")
    np.testing.assert_array_equal(drawn["one"], drawn["same"])
    assert not np.array_equal(drawn["one"], drawn["other"])


@pytest.mark.usefixtures("_small_figures")
def test_a_file_that_is_there_stays_unless_forced(speckle: Speckle, tmp_path: Path) -> None:
    path = tmp_path / "figure6_mono.png"
    path.write_text("precious")
    result = speckle("figures", "--only", "figure6_mono", "--out", tmp_path)
    assert result.exit_code == 2
    assert "--force" in result.stderr
    assert path.read_text() == "precious"
    assert speckle("figures", "--only", "figure6_mono", "--out", tmp_path, "--force").exit_code == 0
    assert path.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only", "figure9", "--out", "."), "'figure9' is not one of 'figure2'"),
        (("--out", "file"), "File exists"),
        ((), "Missing option '--out'"),
    ],
)
def test_bad_input(refused: Refused, arguments: tuple[str, ...], message: str) -> None:
    Path("file").write_text("no folder")
    refused("figures", *arguments, why=message)


def test_figure_2_shows_as_many_disks_as_it_says() -> None:
    panels = systems_picture("poly", (2, 15)).axes
    assert [panel.get_title() for panel in panels[:2]] == ["2 disks", "15 disks"]
    assert [len(panel.collections[0].get_paths()) for panel in panels[:2]] == [2, 15]
    assert [panel.images[0].get_size() for panel in panels[2:]] == [(257, 257)] * 2 + [(129, 129)] * 2
    others = systems_picture("poly", (2, 15), seed=1).axes
    for panel, other in zip(panels[2:], others[2:], strict=True):
        assert np.any(panel.images[0].get_array() != other.images[0].get_array())


def test_figure_6_shows_the_moments_of_the_frames() -> None:
    moments = first_moments("mono", (2, 20), per_number=3, seed=4, size=65)
    panels = first_moment_picture("mono", (2, 20), per_number=3, seed=4, size=65).axes
    assert len(panels) == 8
    for panel, values in zip(panels[4:], moments, strict=True):
        np.testing.assert_array_equal(panel.lines[0].get_xdata(), [2, 2, 2, 20, 20, 20])
        np.testing.assert_array_equal(panel.lines[0].get_ydata(), values.ravel())
    for panel, values in zip(panels[:4], moments, strict=True):
        np.testing.assert_allclose(np.asarray(panel.lines[0].get_ydata(), float), values.mean(axis=1))


def test_confusion_picture_writes_counts_where_they_belong() -> None:
    figure = confusion_picture([[9, 1, 0], [0, 10, 0], [0, 2, 8]], (2, 3, 4), "title")
    axes = figure.axes[0]
    written = {text.get_position(): text.get_text() for text in axes.texts}
    # x is the number found, y the true one; zeros are left blank.
    assert written == {(0, 0): "9", (1, 0): "1", (1, 1): "10", (1, 2): "2", (2, 2): "8"}
    assert [label.get_text() for label in axes.get_xticklabels()] == ["2", "3", "4"]
    with pytest.raises(ValueError, match="a row and a column for each class"):
        confusion_picture([[1, 2]], (2, 3))
