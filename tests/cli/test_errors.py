"""Errors of the library name parameters; those of a command name its options."""

from __future__ import annotations

from typing import Annotated

import pytest
import typer

from speckle_plugin.cli.classify import classify
from speckle_plugin.cli.complete import complete
from speckle_plugin.cli.errors import clear_errors, name_options


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("choose by `dataset`", "choose by --dataset"),
        ("give `beam_center` as (row, column)", "give --beam-center as (row, column)"),
        ("`file` is an argument, `no` is none", "`file` is an argument, `no` is none"),
    ],
)
def test_parameters_are_told_as_options(text: str, told: str) -> None:
    assert name_options(text, classify) == told


def test_an_option_of_another_name_than_its_parameter() -> None:
    assert name_options("classified again (`everything`)", complete) == "classified again (--all)"


def test_a_command_that_fails_names_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    @clear_errors
    def command(long_name: Annotated[int, typer.Option()] = 1) -> None:
        raise ValueError("expected `long_name` to be 2")

    with pytest.raises(typer.Exit):
        command()
    assert capsys.readouterr().err == "Error: expected --long-name to be 2\n"
