"""The help appears at once, and every command teaches by an example."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args

import pytest
from typer.testing import CliRunner

from simulated_devices import Family, grid_by_name
from speckle_plugin.cli import app
from speckle_plugin.cli.frame_options import PolarityName
from speckle_plugin.cli.options import FamilyName, GridName
from speckle_plugin.frames.masks import Polarity
from speckle_plugin.preprocessing.orientation import ORIENTATIONS
from speckle_plugin.schema import OrientationName
from speckle_plugin.settings import Settings

COMMANDS = sorted(
    [c.name or c.callback.__name__ for c in app.registered_commands if c.callback]
    + [group.name for group in app.registered_groups if group.name]
)


def test_help_names_every_command() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    for command in COMMANDS:
        assert command in result.output


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_has_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert f"speckle {command}" in result.output


def test_help_imports_nothing_heavy() -> None:
    heavy = ["numpy", "tensorflow", "keras", "openvino", "numba", "h5py", "tiled", "bluesky", "matplotlib"]
    code = f"import sys, speckle_plugin.cli; print([m for m in {heavy} if m in sys.modules])"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_choices_are_those_of_the_library() -> None:
    assert set(get_args(FamilyName)) == {family.value for family in Family}
    assert get_args(PolarityName) == get_args(Polarity)
    assert get_args(OrientationName) == tuple(ORIENTATIONS)
    assert get_args(Settings.model_fields["orientation"].annotation) == tuple(ORIENTATIONS)
    for name in get_args(GridName):
        grid_by_name(name)
    with pytest.raises(ValueError, match=", ".join(get_args(GridName))):
        grid_by_name("none of them")
