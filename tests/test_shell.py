"""Commands that are printed: a shell takes them apart as they were meant."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from speckle_plugin.doctor.storage import examine_storage
from speckle_plugin.settings import read_settings
from speckle_plugin.shell import command
from speckle_plugin.store.write.saver import replay_command

PLAIN_TEXT = st.text(st.characters(blacklist_categories=["Cs", "Cc"]), min_size=1)


@given(st.lists(PLAIN_TEXT, min_size=1))
def test_words_stay_words(words: list[str]) -> None:
    assert shlex.split(command("speckle", *words)) == ["speckle", *words]


def test_a_variable_reaches_the_program(tmp_path: Path) -> None:
    typed = command("sh", "-c", 'printf %s "$SPECKLE_DATA"', SPECKLE_DATA="/data/my $(runs)' [a]")
    assert subprocess.check_output(["sh", "-c", typed], text=True) == "/data/my $(runs)' [a]"


@pytest.mark.parametrize("name", ["my data", "it's", "a;b", "$HOME"])
def test_commands_that_name_a_directory(tmp_path: Path, name: str) -> None:
    data = tmp_path / name
    (data / "journal").mkdir(parents=True)
    (data / "journal" / "x.jsonl").write_text("{}\n")
    wanted = ["speckle", "replay", "--data", str(data)]
    assert shlex.split(replay_command(data, "")) == wanted
    remedies = [finding.remedy for finding in examine_storage(read_settings(data=data))]
    (told,) = [remedy for remedy in remedies if "speckle replay" in remedy]
    assert shlex.split(told.partition(": ")[2]) == wanted
