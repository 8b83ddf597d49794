"""Whatever is given to an option: a command does its work, or says in a line what is wrong."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import click
import h5py
import numpy as np
import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from speckle_plugin.cli import app
from tests.testing.commands import Speckle
from training.evaluation.figures import FIGURES

COMMANDS: dict[str, click.Command] = dict(typer.main.get_command(app).commands)  # type: ignore[attr-defined]

BASES: dict[str, tuple[str, ...]] = {
    "simulate": ("--out", "made.npz", "--force", "--disk-numbers", "2", "--count", "1", "--size", "33"),
    "classify": ("frames.h5", "--grid", "quadrant", "--model", "small.bundle"),
    "center": ("frames.h5",),
    "explain": ("frames.h5", "--grid", "quadrant", "--model", "small.bundle"),
    "solve": ("frames.h5", "--grid", "quadrant", "--k-step", "0.001", "--frames", "0", "--budget", "0.1"),
    "models": ("small.bundle",),
    "curve": ("small.bundle",),
    "query": ("--data", "no data"),
    "complete": ("--data", "no data"),
    "replay": ("--data", "no data"),
    "train": ("mono", "--out", "network"),
    "evaluate": ("small.bundle", "--only", "families"),
    "retrain": ("--store", "no data", "--out", "network"),
    "report": ("last", "--data", "no data", "--out", "report.html"),
    "figures": ("--out", "pictures", "--force"),
}
"""Arguments with which each command works, or says at once that it has nothing to work on."""

LONG_RUNNING = {"demo", "serve", "worker", "monitor", "bench", "doctor", "calibrate"}
"""They begin sessions and servers, look at the machine, or compute for minutes: other tests are theirs."""

NASTY = ("", " ", "ä" * 300, *"""
-1 0 1 1e3 1e400 nan -inf 999999999999 12345678901234567890123 2-1000000000 true None [] {} a=b
frames=5 steps=1e3
preprocessing.crop=nan ../..
. / /dev/null /proc/none/x.h5 nothing frames.h5 text.h5 ~ * %s #? 1,1 1e9,1e9 nan,1 1;2
http:// http://127.0.0.1:1 http://[ http://127.0.0.1:99999999 http://256.1.1.1 ftp://x
new.png new.npz new.csv new.h5 new.json
""".split())  # fmt: skip


def _options() -> list[tuple[str, str]]:
    """Give each command's options that take a value, and its arguments, as `("classify", "--mask")`."""
    return [
        (name, parameter.opts[0] if isinstance(parameter, click.Option) else "")
        for name in BASES
        for parameter in COMMANDS[name].params
        if not (isinstance(parameter, click.Option) and (parameter.is_flag or parameter.count))
    ]


def test_a_mask_is_read_as_its_maker_meant_it() -> None:
    options = {name: {o for p in command.params for o in p.opts} for name, command in COMMANDS.items()}
    with_masks = [name for name, given in options.items() if "--mask" in given]
    assert len(with_masks) > 5 and all("--mask-polarity" in options[name] for name in with_masks)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_bundle: Path) -> Path:
    """Make a folder with what the commands work on."""
    folder = tmp_path_factory.mktemp("any option")
    (folder / "small.bundle").symlink_to(small_bundle)
    (folder / "text.h5").write_text("no frames")
    frames = np.random.default_rng(0).exponential(100.0, (2, 65, 65)).astype(np.float32)
    with h5py.File(folder / "frames.h5", "w") as file:
        file["frames"] = frames
    return folder


def _far_enough(*_: Any, **__: Any) -> None:
    raise ValueError("as far as this test goes: the work itself would begin here")


@pytest.fixture
def no_long_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands that train or evaluate end where that would begin."""
    monkeypatch.setattr("training.train.train", _far_enough)
    monkeypatch.setattr("training.evaluation.run.evaluate_bundle", _far_enough)
    for name in FIGURES:
        monkeypatch.setitem(FIGURES, name, _far_enough)


def _see_that_it_ends_well(speckle: Speckle, arguments: list[str]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        result = speckle(*arguments)
    if result.exit_code == 0:
        return
    assert result.exit_code in (1, 2), (arguments, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), (arguments, result.exception)
    last = result.stderr.strip().splitlines() or result.stdout.strip().splitlines()
    assert last, (arguments, "it failed without a word")
    assert "Traceback" not in result.output + result.stderr, arguments


def test_every_command_is_tried() -> None:
    assert set(BASES) | LONG_RUNNING == set(COMMANDS)


@given(
    where=st.sampled_from(_options()),
    value=st.one_of(
        st.sampled_from(NASTY),
        st.text(st.characters(codec="utf-8", exclude_characters="\0/"), max_size=12),
        st.integers().map(str),
        st.floats().map(str),
    ),
)
@settings(
    max_examples=120,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_value(
    speckle: Speckle,
    folder: Path,
    no_long_work: None,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, str],
    value: str,
) -> None:
    monkeypatch.chdir(folder)
    command, option = where
    # By `=`, so that a value that begins with a dash is no option.
    given = [f"{option}={value}"] if option else ["--", value]
    _see_that_it_ends_well(speckle, [command, *BASES[command], *given])


@pytest.mark.slow
@pytest.mark.parametrize("where", _options(), ids=lambda where: " ".join(where))
def test_every_nasty_value(
    speckle: Speckle,
    folder: Path,
    no_long_work: None,
    monkeypatch: pytest.MonkeyPatch,
    where: tuple[str, str],
) -> None:
    monkeypatch.chdir(folder)
    command, option = where
    for value in NASTY:
        given = [f"{option}={value}"] if option else ["--", value]
        _see_that_it_ends_well(speckle, [command, *BASES[command], *given])
