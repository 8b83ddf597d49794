"""`speckle report`: one file that holds all that it shows, of runs of every kind."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from bluesky import RunEngine

from speckle_plugin.live import SecondOpinion
from speckle_plugin.network import find_bundle
from speckle_plugin.report import write_report
from speckle_plugin.report.facts import MEANING
from speckle_plugin.schema import Flag
from speckle_plugin.store import TiledStore
from tests.testing.commands import Speckle
from tests.testing.stored_runs import measure


class Page(HTMLParser):
    """What is on a page: its text, its pictures, its addresses; and that each element is closed."""

    VOID = frozenset({"meta", "br", "img"})

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.pictures: list[str] = []
        self.addresses: list[str] = []
        self.words = ""
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href"):
                self.addresses.append(value or "")
        if tag == "img":
            self.pictures.append(dict(attrs)["src"] or "")
            assert dict(attrs)["alt"]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def engine_and_runs(store: TiledStore) -> Iterator[dict[str, str]]:
    """Give a classified and solved run, one without labels, and one whose name is a trap."""
    engine = RunEngine({}, call_returns_result=True)
    yield {
        "solved": measure(engine, store, 3, second_opinion=SecondOpinion("all", workers=1, wait=30.0)),
        "unlabelled": measure(engine, store, 2, classified=False),
        "trap": measure(engine, store, 2, sample='<script>alert(1)</script> & "it\'s"'),
    }


def test_what_is_on_the_page(engine_and_runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[engine_and_runs["solved"]], out)
    page = Page(out.read_text())
    # The line, the least certain frames, and the solved samples.
    assert len(page.pictures) == 1 + 3 + 3
    assert all(address.startswith("data:image/webp;base64,") for address in page.addresses)
    words = " ".join(page.words.split())
    assert re.search(r"3 frames\b.* 3 classified", words)
    assert "3 frames were to be solved: 3 solved" in words
    # The network of these runs is a stand-in that nobody ships.
    assert "sevens 0" in words and "is not among the shipped ones" in words
    assert "1 of 3 labels" in words or "0 of 3 labels" in words
    assert "beam centre (row, column)" in words
    assert out.stat().st_size < 5e6


def test_a_run_without_labels(engine_and_runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[engine_and_runs["unlabelled"]], out)
    page = Page(out.read_text())
    assert not page.pictures
    assert "There are no results in this run" in page.words


def test_metadata_are_text(engine_and_runs: dict[str, str], store: TiledStore, tmp_path: Path) -> None:
    out = tmp_path / "report.html"
    write_report(store.runs[engine_and_runs["trap"]], out, frames=0)
    page = Page(out.read_text())
    assert '<script>alert(1)</script> & "it\'s"' in page.words
    assert "<script" not in out.read_text()
    assert len(page.pictures) == 1


def test_another_network_is_refused(
    engine_and_runs: dict[str, str], store: TiledStore, tmp_path: Path
) -> None:
    bundle = replace(find_bundle(), sha256="0" * 64)
    with pytest.raises(ValueError, match=r"was labelled by sevens 0 .* not by quadrant"):
        write_report(store.runs[engine_and_runs["trap"]], tmp_path / "report.html", bundle=bundle)
    assert not list(tmp_path.iterdir())


def test_the_command(
    engine_and_runs: dict[str, str], store: TiledStore, speckle: Speckle, tmp_path: Path
) -> None:
    out, data = tmp_path / "report.html", store.directory
    done = speckle("report", "last", "--data", data, "--out", out, "--no-saliency", "--frames", 1)
    assert done.exit_code == 0, done.output
    assert f"{out} (0." in done.stdout
    assert engine_and_runs["trap"] in out.read_text()
    cases = [
        (("last",), "--force"),
        (("nowhere", "--force"), "no stored run has the uid nowhere"),
        (("99999", "--force"), "no stored run has the scan id 99999"),
    ]
    before = out.read_text()
    for arguments, message in cases:
        refused = speckle("report", *arguments, "--data", data, "--out", out)
        assert refused.exit_code == 2, refused.output
        assert message in " ".join(refused.stderr.split())
    refused = speckle("report", "last", "--data", data, "--out", tmp_path / "report.pdf")
    assert refused.exit_code == 2 and "must end with .html" in " ".join(refused.stderr.split())
    assert out.read_text() == before


def test_every_flag_has_a_meaning() -> None:
    assert set(MEANING) == set(Flag)
