"""What README and pages show works: code runs, commands are known with all their options, links lead on."""

from __future__ import annotations

import doctest
import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.plans as bp
import numpy as np
import pytest
import typer
from bluesky import RunEngine

from simulated_devices import (
    FlySpeckleDetector,
    SampleMap,
    SpeckleSample,
    draw_system,
    grid_by_name,
    intensity,
)
from speckle_plugin import plans, start_session, store
from speckle_plugin.cli import app
from speckle_plugin.explain.solved_frame import solve_frame
from speckle_plugin.live import SecondOpinion
from tests.docs.pages import PAGES, ROOT, Block, blocks, commands, links

PYTHON = [block for page in PAGES for block in blocks(page) if block.kind == "python"]

NOT_RUN = {
    "docs/how-to/darks.md": "bluesky-darkframes and a shutter; tests/live/test_corrections.py does the same",
    "docs/how-to/detectors.md": "devices; tests/live/test_area_detector.py, test_ophyd_async.py run its code",
    "docs/retraining.md": "it trains for minutes; tests/training/test_retrain.py does so on a small network",
    "docs/how-to/facility-server.md": "PostgreSQL; tests/store/test_facility_server.py calls the same",
}
"""Pages whose code needs what is not here, and where it is run instead. It is compiled all the same."""


MANY_FRAMES = re.compile(r"(\bdet\]?,) \d{2,}")
"""Of a plan; five do here."""


@pytest.fixture(scope="module")
def names(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """Give the names of the IPython profile, on a session with two runs, and what pages take for given."""
    folder = tmp_path_factory.mktemp("examples")
    opinion = SecondOpinion("none", workers=1)
    with start_session(folder / "data", profile="", table=False, second_opinion=opinion) as session:
        sample = SpeckleSample(name="sample", sample_map=SampleMap("steps", disk_numbers=(2, 7)), seed=1)
        frames_directory = session.store.frames_directory
        det = FlySpeckleDetector(name="det", sample=sample, data_directory=frames_directory)
        session.RE(bp.scan([det], sample.x, -1, 1, 3, md={"sample": "A7"}))
        session.RE(plans.classify_scan([det], sample.x, -1, 1, 4, second_opinion="all"))
        profile = {"bp": bp, "bps": bps, "count": bp.count, "scan": bp.scan, "grid_scan": bp.grid_scan}
        profile |= {name: getattr(plans, name) for name in plans.__all__}
        profile |= {name: getattr(store, name) for name in store.__all__}
        grid = grid_by_name("centered", 257)
        system = draw_system("poly", 5, np.random.default_rng(1))
        yield profile | {
            "solve_frame": solve_frame,
            "start_session": start_session,
            "session": session,
            "figure": session.figure,
            "RE": session.RE,
            "catalog": session.catalog,
            "store": session.store,
            "saver": session.saver,
            "live": session.live,
            "sample": sample,
            "det": det,
            "frame": intensity(system, grid),
            "k_step": grid.pitch,
            "mask": np.zeros(grid.shape, bool),
        }


def run(block: Block, given: dict[str, Any]) -> None:
    """Run a block in names of its own; a session that it opens is closed, and has a RunEngine of its own."""
    names = dict(given)
    if "run_engine=RE" in block.text:
        names["RE"] = RunEngine({})
    text = MANY_FRAMES.sub(r"\1 5", block.text)
    exec(compile(text, str(block), "exec"), names)
    if names["session"] is not given["session"]:
        names["session"].close()


@pytest.mark.documentation
@pytest.mark.parametrize("block", PYTHON, ids=str)
def test_code_runs(
    block: Block, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))  # some pages have ~/speckle-data
    compile(block.text, str(block), "exec")
    page = str(block.page.relative_to(ROOT))
    if page in NOT_RUN:
        pytest.skip(NOT_RUN[page])
    if "databroker" in block.text:
        pytest.skip("it needs a profile that is written; tests/store/test_databroker.py")
    if "scan.h5" in block.text:
        np.save(tmp_path / "scan.npy", np.repeat(np.asarray(names["frame"])[None], 8, axis=0))
        block = Block(block.page, block.line, block.kind, block.text.replace("scan.h5", "scan.npy"))
    run(block, names)


def _command_lines() -> Iterator[Any]:
    for page in PAGES:
        for line, words in commands(page):
            yield pytest.param(words, id=f"{page.relative_to(ROOT)}:{line}")


@pytest.mark.parametrize("words", list(_command_lines()))
def test_commands_are_known(words: list[str]) -> None:
    """Parsed as the command line does, but not run: a name or option that is not there is an error."""
    group = typer.main.get_command(app)
    end = next((i for i, word in enumerate(words) if word in ("|", ">", "&&", "||")), len(words))
    with group.make_context("speckle", [], resilient_parsing=True) as context:
        name, command, rest = group.resolve_command(context, words[:end])  # type: ignore[attr-defined]
        assert command is not None, f"there is no command {name}"
        # Variables of the shell in docs/retraining.md and docs/results.md: a number, and more options.
        given = [word.replace("$seed", "1") for word in rest if word != "$LOG"]
        command.make_context(name, given, parent=context)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_to_files(page: Path) -> None:
    for path, _ in links(page):
        if path:
            assert (page.parent / path).exists(), path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_files_of_the_repository_that_are_named_are_there(page: Path) -> None:
    for path in re.findall(
        r"`((?:tests|benchmarks|docs|\w+_\w+)/[\w/]+\.py)`", page.read_text(encoding="utf-8")
    ):
        assert (ROOT / path).exists(), path


def _modules_with_examples() -> Iterator[str]:
    for path in sorted((ROOT / "speckle_plugin").rglob("*.py")):
        if ">>>" in path.read_text():
            yield ".".join(path.relative_to(ROOT).with_suffix("").parts)


@pytest.mark.documentation
@pytest.mark.parametrize("name", list(_modules_with_examples()))
def test_examples_of_docstrings_run(
    name: str, names: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What they show is not compared: numbers are of a run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "displayhook", repr)
    module = importlib.import_module(name)
    given = {**names, **vars(module), "RE": RunEngine({})}
    for test in doctest.DocTestFinder(recurse=True).find(module, name):
        for example in test.examples:
            exec(compile(example.source, f"{name}, {test.name}", "single"), given)
    if given["live"] is not names["live"]:
        given["live"].close()
